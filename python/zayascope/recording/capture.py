"""Records what any PyTorch module computes: `with zayascope.capture(model, "out/ref", tokens=ids): model(ids)`."""

from __future__ import annotations

import platform
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa
import torch

from .call_tokens import TokenBook
from ..errors import DumpError
from .flatten import Leaf, leaves
from .function_edges import FunctionEdges
from .local_values import LocalValues
from ..format.lock import locked
from ..format.manifest import check_folder, prepare_folder
from .module_tree import block_list, check_compiled, device_name, device_of, has_forward, identity, is_language_model, model_dtype, vocabulary
from ..format.pattern import compile_pattern
from .recorder import Recorder
from .roles import known_roles
from ..version import VERSION

#: Path of what the outermost module returns; with `_` behind it where a module of the model is called so.
ROOT = "return"
#: Values of `edges`.
EDGES = ("functions", "storage", "none")


class Capture:
    """A capture that is being made, as `with zayascope.capture(...) as run` gives it."""

    def __init__(self, model: torch.nn.Module, out: Path, recorder: Recorder, tokens: TokenBook, inside: Sequence[str], edges: str) -> None:
        #: The dump's folder.
        self.out = out
        self._model = model
        self._recorder = recorder
        self._tokens = tokens
        self._edges = edges
        self._paths = {id(module): name for name, module in model.named_modules()}
        self._root = ROOT
        while any(path.split(".")[0] == self._root for path in self._paths.values()):
            self._root += "_"
        self._modules = {id(module): module for module in model.modules()}
        self._inside = tuple(inside)
        self._stack: list[tuple[int, str, frozenset[str]]] = []
        self._ran: set[int] = set()
        self._gave: set[int] = set()
        self._begun = 0
        self._open = ExitStack()

    @property
    def steps(self) -> int:
        """Calls recorded so far."""
        return self._recorder.steps

    def _nothing(self) -> str:
        """Why nothing was recorded, in words."""
        refused = list(self.refused.items())
        if self._begun == 0:
            return "no call of the model or of a module in it"
        calls = f"{self._begun} call{'' if self._begun == 1 else 's'}"
        if refused:
            more = "" if len(refused) == 1 else f", and {len(refused) - 1} more"
            return f"{calls} whose values cannot be held: {refused[0][0]}: {refused[0][1]}{more}"
        if not self._gave:
            return f"{calls} in which no module returned a tensor"
        gave = [self._paths[number] or self._root for number in self._modules if number in self._gave]
        return f"{calls} in which other modules returned tensors: {', '.join(gave[:3])}{' ..' if len(gave) > 3 else ''}"

    @property
    def taps(self) -> list[str]:
        """Names recorded so far, in order of execution."""
        return list(self._recorder.names)

    @property
    def ambiguous(self) -> list[str]:
        """Values recorded once per step because either of two axes could be the tokens': `token_axis` settles them."""
        return [name for name in self._recorder.names if name in self._recorder.open]

    @property
    def refused(self) -> dict[str, str]:
        """Values that could not be recorded, and why; the manifest lists them under `notRun`."""
        return dict(self._recorder.refused)

    def expect(self, tokens: Any, attention_mask: Any = None) -> None:
        """Says which token ids the next call is on, where they are no argument of it."""
        self._tokens.expect(tokens, attention_mask)

    def _start(self) -> None:
        for module in self._modules.values():
            # the last of its hooks: what it is given and what it returns are final
            self._open.callback(module.register_forward_pre_hook(self._before, with_kwargs=True).remove)
            self._open.callback(module.register_forward_hook(self._after, with_kwargs=True, always_call=True).remove)
        if self._edges == "functions":
            self._open.enter_context(FunctionEdges(self._recorder.storages))
        if self._inside:
            self._open.enter_context(LocalValues(self._inside, self._modules, self._local))

    def _stop(self) -> None:
        self._open.close()
        self._stack.clear()

    def _before(self, module: torch.nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        with torch._C.DisableTorchFunction():
            if not self._stack:
                self._begun += 1
                self._recorder.begin(module, args, kwargs)
            number = id(module)
            self._ran.add(number)
            path = self._recorder.number(self._paths[number] or self._root)
            inputs: frozenset[str] = frozenset()
            if self._edges != "none":
                for leaf in leaves((args, kwargs)):
                    # caches hold what earlier calls and other blocks left: no edge of this call
                    inputs |= frozenset() if leaf.role is not None else self._recorder.storages.sources(leaf.tensor)
            self._stack.append((number, path, inputs))

    def _after(self, module: torch.nn.Module, _args: tuple[Any, ...], _kwargs: dict[str, Any], output: Any) -> None:
        with torch._C.DisableTorchFunction():
            # a call that was broken off by something other than an Exception leaves its entry behind
            while self._stack and self._stack[-1][0] != id(module):
                self._stack.pop()
            if not self._stack:
                return
            _, path, inputs = self._stack.pop()
            chosen = self._recorder.wants(self._paths[id(module)] or self._root)
            for leaf in leaves(output):
                self._gave.add(id(module))
                name = f"{path}.{leaf.path}" if leaf.path else path
                self._recorder.value(self._recorder.unique(name), leaf, module, inputs, chosen or self._recorder.wants(name))
            if not self._stack:
                self._recorder.end()

    def _local(self, module: torch.nn.Module, function: str, variable: str, tensor: torch.Tensor) -> None:
        with torch._C.DisableTorchFunction():
            path = next((path for number, path, _ in reversed(self._stack) if number == id(module)), None)
            if path is None:
                return
            name = f"{path}:{variable}" if function == "forward" else f"{path}:{function}.{variable}"
            name = self._recorder.unique(name)
            self._recorder.value(name, Leaf("", tensor, None), None, frozenset(), self._recorder.wants(name))

    def _not_run(self) -> list[dict[str, str]]:
        entries: list[dict[str, str]] = []
        for number, module in self._modules.items():
            path = self._paths[number] or self._root
            if number in self._gave or not has_forward(module) or not self._recorder.wants(path):
                continue
            reason = "it returned no tensor" if number in self._ran else "its forward was not called"
            entries.append({"name": path, "reason": reason})
        return entries + [{"name": name, "reason": reason} for name, reason in self._recorder.refused.items()]


@contextmanager
def capture(
    model: torch.nn.Module,
    out: str | Path,
    taps: str = "**",
    tokens: Any = None,
    inside: str | Sequence[str] | None = None,
    *,
    attention_mask: Any = None,
    follows: bool | None = None,
    token_axis: Mapping[str, int] | None = None,
    blocks: str | None = "auto",
    roles: Mapping[str, str] | None = None,
    edges: str = "functions",
    overwrite: bool = False,
    model_info: Mapping[str, Any] | None = None,
    producer: Mapping[str, Any] | None = None,
    policy: str | None = None,
) -> Iterator[Capture]:
    """Writes a dump of every call of `model`, or of modules in it, that is made while the context is open.

    model: any module that is not compiled. Nothing in it changes, and its results are what they are without this.
    out: the dump's folder; it must not exist or be empty, unless `overwrite` and it holds a dump and nothing else.
    taps: which values, as a tap pattern over their names. The output of a module has the module's path, of the model itself `return` (`return_` where it has a module of that name);
        tensors in tuples, mappings, dataclasses and caches have their place behind it (`lm.past_key_values.0.key`); of a module's n-th
        call in one call of the model, `path#n`. A pattern that matches a module's path takes all of its output.
    tokens: token ids of the call, [T] or [batch, T], of several calls all ids in order. None: each call's `input_ids`, if it has
        them. False: none. Values that have an axis of tokens are stored by token, others once per call.
    inside: also local variables of the functions in Python modules whose name holds this text (or one of these), named `path:variable`,
        `path:function.variable`, and `#n` for the n-th tensor of a name. Slower: every line of these functions is watched.
    attention_mask: [batch, at least T], where it is no argument of that name: tokens with 0 are padding and not dumped.
    follows: whether a call goes on with the tokens of the one before. None: if it is given a cache that is not empty. Otherwise its
        tokens are new sequences.
    token_axis: pattern to axis, for values whose token axis cannot be told by size (`Capture.ambiguous`).
    blocks: path of the list of decoder blocks, each of which gets its own file; "auto": the one list called layers, blocks or h.
    roles: role to tap pattern, beside those that the package knows (logits, residual, caches).
    edges: which value went into which: "functions" follows memory through modules and torch functions, "storage" through modules only
        (no function of torch is watched), "none".
    model_info, producer, policy: further fields of the manifest.

    Values are copied when they are seen; each call is written when it ends. Raises DumpError for a model that cannot be watched, a
    folder that cannot be used, a bad pattern, or if nothing was recorded. An exception inside leaves a dump marked partial, with all that
    was seen, and goes on; the hooks are removed in any case.
    """
    check_compiled(model)
    if edges not in EDGES:
        raise DumpError(f"capture: expected edges to be one of {', '.join(EDGES)}, got {edges!r}")
    out = Path(out).resolve()
    pattern = compile_pattern(taps)
    book = TokenBook(tokens, attention_mask, follows)
    found = block_list(model) if blocks == "auto" else blocks
    with locked(out):
        check_folder(out, overwrite)
        prepare_folder(out)
        description = _description(model, taps, dict(producer or {}), policy, dict(model_info or {}))
        recorder = Recorder(out, description, pattern, book, found, token_axis or {}, vocabulary(model), edges != "none")
        names = (inside,) if isinstance(inside, str) else tuple(inside or ())
        run = Capture(model, out, recorder, book, names, edges)
        try:
            try:
                run._start()
                yield run
            finally:
                run._stop()
            if not run.taps:
                raise DumpError(f"capture: expected a call that gives a value of {taps!r}, got {run._nothing()}")
        except BaseException:
            recorder.abort()
            raise
        residual = found if is_language_model(model) else None
        recorder.close(run._not_run(), known_roles(run.taps, residual, recorder.roles, roles or {}))
        doubts = book.finish()
        if recorder.unfit is not None:
            batch, length = recorder.unfit
            doubts.append(f"no value has an axis of the tokens given, [{batch}, {length}]: all of that call are stored once")
        for doubt in doubts:
            warnings.warn(f"capture: {doubt}", stacklevel=3)
        if run.ambiguous:
            warnings.warn(
                f"capture: {len(run.ambiguous)} values, {run.ambiguous[0]} first, have two axes of the number of tokens and are stored once a "
                "call: token_axis says which it is, another number of tokens tells them apart",
                stacklevel=3,
            )


def _description(
    model: torch.nn.Module, taps: str, producer: dict[str, Any], policy: str | None, info: dict[str, Any]
) -> dict[str, Any]:
    device, dtype = device_of(model), model_dtype(model)
    backend: dict[str, Any] = {"name": device.type, "device": device_name(device), "threads": torch.get_num_threads()}
    versions = {"torch": torch.__version__, "pyarrow": pa.__version__, "python": platform.python_version()}
    return {
        "producer": {"name": "zayascope-python", "version": VERSION, **versions, **producer},
        "model": identity(model) | info,
        "policy": {"name": policy or f"torch-{'none' if dtype is None else dtype.lower()}"},
        "backend": backend,
        "selection": {"taps": taps, "positions": "all"},
    }
