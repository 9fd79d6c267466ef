"""Watches one forward pass of an unmodified model: module outputs through hooks, local variables through `sys.settrace`."""

import sys
from collections import defaultdict
from collections.abc import Callable
from types import FrameType

import torch

from errors import DumpError

# Variables read inside `forward`, by the module's path from its decoder block ("" is the whole model, "block" the block itself).
LOCALS: dict[str, tuple[str, ...]] = {
    "self_attn.qkv_proj": ("query_residual", "key_residual", "qk_states", "query", "key", "value_delayed", "value"),
    "self_attn": ("query_states", "key_states", "attn_weights", "attn_output"),
    "post_attention_residual_scale": ("hidden_states", "residual"),
    "mlp.gate": ("router_hidden_states", "router_probs", "biased_router_probs", "router_indices"),
    "mlp.gate.router_mlp": ("hidden_states",),
    "mlp.experts": ("token_idx", "gate", "up", "current_hidden_states"),
    "post_mlp_residual_scale": ("hidden_states", "residual"),
}
MODEL_LOCALS = ("hidden_states",)


class Observed:
    """What was seen of the modules: their outputs, call by call, and every value that a watched variable took."""

    def __init__(self) -> None:
        self._outputs: dict[str, list] = defaultdict(list)
        self._values: dict[tuple[str, str], list[torch.Tensor]] = defaultdict(list)

    def add_output(self, module: str, value) -> None:
        self._outputs[module].append(value)

    def add_value(self, module: str, name: str, value: torch.Tensor) -> None:
        self._values[module, name].append(value)

    def outputs(self, module: str) -> list:
        if module not in self._outputs:
            raise DumpError(f"observe: expected module {module} to run, it did not")
        return self._outputs[module]

    def values(self, module: str, name: str) -> list[torch.Tensor]:
        return self._values[module, name]

    def value(self, module: str, name: str, nth: int, of: int | None) -> torch.Tensor:
        """The `nth` value (1-based, -1: the last) of a variable that must have taken `of` values (None: any number)."""
        values = self.values(module, name)
        if (of is not None and len(values) != of) or len(values) < abs(nth):
            expected = f"{of}" if of is not None else f"at least {abs(nth)}"
            raise DumpError(
                f"observe: expected {expected} values of {name!r} in {module or 'the model'}, got {len(values)}: "
                "this transformers release is not the one that the tap table was written for"
            )
        return values[nth if nth < 0 else nth - 1]

    def forget(self, prefix: str) -> None:
        """Drops everything that was seen inside `prefix`, so that memory stays at one block's values."""
        inside = f"{prefix}."
        for module in [m for m in self._outputs if m == prefix or m.startswith(inside)]:
            del self._outputs[module]
        for key in [k for k in self._values if k[0] == prefix or k[0].startswith(inside)]:
            del self._values[key]


class Observer:
    """Context manager: while it is open, forward passes of `model` fill `seen` and report each finished block.

    `on_block(n)` is called right after decoder block n has run.
    """

    def __init__(self, model: torch.nn.Module, seen: Observed, on_block: Callable[[int], None]) -> None:
        self._model = model
        self._seen = seen
        self._on_block = on_block
        self._source = sys.modules[type(model).__module__].__file__
        self._watched = _watched_modules(model)
        self._handles: list = []
        self._previous_trace = None

    def __enter__(self) -> "Observer":
        for name, module in self._model.named_modules():
            path = tap_path(name)
            if path:
                self._handles.append(module.register_forward_hook(self._output_hook(path)))
        for index, block in enumerate(self._model.model.layers):
            self._handles.append(block.register_forward_hook(lambda *_, index=index: self._on_block(index)))
        self._previous_trace = sys.gettrace()
        sys.settrace(self._on_call)
        return self

    def __exit__(self, *_) -> None:
        sys.settrace(self._previous_trace)
        for handle in self._handles:
            handle.remove()

    def _output_hook(self, path: str):
        def hook(_module, _args, output) -> None:
            self._seen.add_output(path, output)

        return hook

    def _on_call(self, frame: FrameType, _event: str, _arg):
        if frame.f_code.co_filename != self._source or frame.f_code.co_name != "forward":
            return None
        watch = self._watched.get(id(frame.f_locals.get("self")))
        return None if watch is None else self._line_tracer(*watch)

    def _line_tracer(self, path: str, names: tuple[str, ...]):
        """A tracer for one call: before each line and at the return, a name bound to another object has a new value.

        Holding the last object keeps its identity from being reused while it is compared.
        """
        last: dict[str, object] = {}

        def trace(frame: FrameType, _event: str, _arg):
            scope = frame.f_locals
            for name in names:
                value = scope.get(name)
                if value is not None and value is not last.get(name):
                    last[name] = value
                    self._seen.add_value(path, name, value)
            return trace

        return trace


def tap_path(module_name: str) -> str:
    """A module's path as taps spell it: without the leading `model.`; empty for the model itself."""
    return "" if module_name in ("", "model") else module_name.removeprefix("model.")


def _watched_modules(model: torch.nn.Module) -> dict[int, tuple[str, tuple[str, ...]]]:
    watched = {id(model.model): ("", MODEL_LOCALS)}
    for index, block in enumerate(model.model.layers):
        for path, names in LOCALS.items():
            watched[id(block.get_submodule(path))] = (f"layers.{index}.{path}", names)
    return watched
