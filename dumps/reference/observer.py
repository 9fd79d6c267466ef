"""Watches forward passes of an unmodified model: module inputs and outputs through hooks, local variables through `sys.settrace`."""

import sys
from collections import defaultdict
from collections.abc import Callable
from types import FrameType

import torch

from assignments import Assignments
from errors import DumpError

# Variables read inside `forward`, by the module's path from its decoder block ("" is the block itself).
LOCALS: dict[str, tuple[str, ...]] = {
    "": ("hidden_states", "residual"),
    "self_attn.qkv_proj": (
        *("projected_queries", "projected_keys", "query_residual", "key_residual", "qk_states"),
        *("query", "key", "value_current", "delayed_v_state", "value_delayed", "value"),
    ),
    "self_attn": ("query_states", "key_states", "value_states", "attn_weights", "attn_output"),
    "post_attention_residual_scale": ("hidden_states", "residual"),
    "mlp.gate": ("router_hidden_states", "router_logits", "router_probs", "biased_router_probs", "router_indices"),
    "mlp.gate.router_mlp": ("hidden_states",),
    "mlp.experts": ("token_idx", "gate", "up", "current_hidden_states"),
    "post_mlp_residual_scale": ("hidden_states", "residual"),
}
MODEL_LOCALS = ("inputs_embeds", "hidden_states")
# The path of the whole model with its head; "" is the model without.
WITH_HEAD = "(head)"
HEAD_LOCALS = ("logits",)


class NotSeen(DumpError):
    """A module that did not run, or a variable that took another number of values than its source says."""


class Observed:
    """What was seen of the modules in one forward call: their first inputs and outputs, call by call, and every value that a watched
    variable took.

    `batch` and `tokens` are the call's sizes; `cache` is the model's cache, None in a call without.
    """

    def __init__(self) -> None:
        self.batch = self.tokens = 1
        self.cache = None
        self._inputs: dict[str, list] = defaultdict(list)
        self._outputs: dict[str, list] = defaultdict(list)
        self._values: dict[tuple[str, str], list[torch.Tensor]] = defaultdict(list)

    @property
    def cached(self) -> bool:
        return self.cache is not None

    def begin(self, batch: int, tokens: int, cache=None) -> None:
        """Forgets everything: a call of these sizes follows."""
        self.batch, self.tokens, self.cache = batch, tokens, cache
        self._inputs.clear()
        self._outputs.clear()
        self._values.clear()

    def add_input(self, module: str, value) -> None:
        self._inputs[module].append(value)

    def add_output(self, module: str, value) -> None:
        self._outputs[module].append(value)

    def add_value(self, module: str, name: str, value: torch.Tensor) -> None:
        self._values[module, name].append(value)

    def inputs(self, module: str) -> list:
        if module not in self._inputs:
            raise NotSeen(f"observe: expected module {module} to run, it did not")
        return self._inputs[module]

    def outputs(self, module: str) -> list:
        if module not in self._outputs:
            raise NotSeen(f"observe: expected module {module} to run, it did not")
        return self._outputs[module]

    def values(self, module: str, name: str) -> list[torch.Tensor]:
        return self._values[module, name]

    def value(self, module: str, name: str, nth: int, of: int | None) -> torch.Tensor:
        """The `nth` value (1-based, -1: the last) of a variable that must have taken `of` values (None: any number)."""
        values = self.values(module, name)
        if (of is not None and len(values) != of) or len(values) < abs(nth):
            expected = f"{of}" if of is not None else f"at least {abs(nth)}"
            where = "the model" if module == "" else "the model with its head" if module == WITH_HEAD else module
            raise NotSeen(
                f"observe: expected {expected} values of {name!r} in {where}, got {len(values)}: "
                "this source is not the one that the tap table was written for"
            )
        return values[nth if nth < 0 else nth - 1]

    def forget(self, prefix: str) -> None:
        """Drops everything that was seen inside `prefix`, so that memory stays at one block's values."""
        inside = f"{prefix}."
        for kept in (self._inputs, self._outputs):
            for module in [m for m in kept if m == prefix or m.startswith(inside)]:
                del kept[module]
        for key in [k for k in self._values if k[0] == prefix or k[0].startswith(inside)]:
            del self._values[key]


class Observer:
    """Context manager: while it is open, forward passes of `model` fill `seen` and report each finished block.

    `on_block(n)` is called when decoder block n has run and the model has taken its output, right before what follows the block.
    """

    def __init__(
        self,
        model: torch.nn.Module,
        seen: Observed,
        on_block: Callable[[int], None],
        locals_of: dict[str, tuple[str, ...]] = LOCALS,
        model_locals: tuple[str, ...] = MODEL_LOCALS,
    ) -> None:
        self._model = model
        self._seen = seen
        self._on_block = on_block
        self._source = sys.modules[type(model).__module__].__file__
        self._watched = _watched_modules(model, locals_of, model_locals)
        self._handles: list = []
        self._previous_trace = None
        self._assignments = Assignments()

    def __enter__(self) -> "Observer":
        for name, module in self._model.named_modules():
            path = tap_path(name)
            if path:
                # before other hooks: what they change is the module's own doing, and not the caller's
                self._handles.append(module.register_forward_pre_hook(self._input_hook(path), with_kwargs=True, prepend=True))
                self._handles.append(module.register_forward_hook(self._output_hook(path)))
        followers = [*self._model.model.layers[1:], self._model.model.norm]
        for index, follower in enumerate(followers):
            self._handles.append(follower.register_forward_pre_hook(lambda *_, index=index: self._on_block(index)))
        self._previous_trace = sys.gettrace()
        sys.settrace(self._on_call)
        return self

    def __exit__(self, *_) -> None:
        sys.settrace(self._previous_trace)
        for handle in self._handles:
            handle.remove()

    def _input_hook(self, path: str):
        def hook(_module, args, kwargs) -> None:
            self._seen.add_input(path, args[0] if args else kwargs.get("hidden_states"))

        return hook

    def _output_hook(self, path: str):
        def hook(_module, _args, output) -> None:
            self._seen.add_output(path, output)

        return hook

    def _on_call(self, frame: FrameType, _event: str, _arg):
        if frame.f_code.co_filename != self._source or frame.f_code.co_name != "forward":
            return None
        watch = self._watched.get(id(frame.f_locals.get("self")))
        return None if watch is None else self._line_tracer(frame, *watch)

    def _line_tracer(self, frame: FrameType, path: str, names: tuple[str, ...]):
        """A tracer for one call: before each line and at the return, a name that was assigned has a new value.

        An argument is the first value of its name. A name bound to another object counts as assigned, however that came about; and a
        name that is assigned the object it already has counts too, so that an op that does nothing shifts no name.
        Holding the last object keeps its identity from being reused while it is compared.
        """
        last: dict[str, object] = {}
        stores = self._assignments.of(frame.f_code)
        segment: int | None = None

        def trace(frame: FrameType, event: str, _arg):
            nonlocal segment
            if event == "exception":
                return trace
            stored = () if segment is None else stores.get(segment, ())
            segment = frame.f_lasti
            scope = frame.f_locals
            for name in names:
                value = scope.get(name)
                if value is not None and (value is not last.get(name) or name in stored):
                    last[name] = value
                    self._seen.add_value(path, name, value)
            return trace

        return trace


def tap_path(module_name: str) -> str:
    """A module's path as taps spell it: without the leading `model.`; empty for the model itself."""
    return "" if module_name in ("", "model") else module_name.removeprefix("model.")


def _watched_modules(
    model: torch.nn.Module, locals_of: dict[str, tuple[str, ...]], model_locals: tuple[str, ...]
) -> dict[int, tuple[str, tuple[str, ...]]]:
    watched = {id(model): (WITH_HEAD, HEAD_LOCALS), id(model.model): ("", model_locals)}
    for index, block in enumerate(model.model.layers):
        modules = dict(block.named_modules())
        for path, names in locals_of.items():
            if path not in modules:  # a block of another kind, such as one without experts
                continue
            watched[id(modules[path])] = (f"layers.{index}.{path}".removesuffix("."), names)
    return watched
