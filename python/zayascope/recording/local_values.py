"""Values inside a module's forward: the local variables that its source names, seen line by line through `sys.settrace`."""

from __future__ import annotations

import dis
import sys
from collections.abc import Callable, Sequence
from types import CodeType, FrameType
from typing import Any

import torch

#: Called with a module, the function's name, the variable's name, its value and the number of the call that it belongs to.
OnValue = Callable[[torch.nn.Module, str, str, torch.Tensor], None]


class LocalValues:
    """Context manager: while it is open, every tensor that a local variable is bound to is reported at once.

    Watched are functions of the Python modules whose name contains one of `inside`: methods of a module of `modules` (id to module),
    functions whose first argument is one, and functions that these call, which count to the same module. A variable is reported
    again when it is assigned, or when its tensor was written to. An assignment counts also where the tensor stays the same, so that a
    conversion that has nothing to convert gives the following values no other number. Arguments count as the first value;
    parameters of the model are passed over.
    """

    def __init__(self, inside: Sequence[str], modules: dict[int, torch.nn.Module], report: OnValue) -> None:
        self._inside = tuple(inside)
        self._modules = modules
        self._report = report
        self._watched: dict[CodeType, bool] = {}
        self._assignments: dict[CodeType, dict[int, frozenset[str]]] = {}
        self._owners: list[torch.nn.Module] = []
        self._previous: Any = None

    def __enter__(self) -> LocalValues:
        self._previous = sys.gettrace()
        sys.settrace(self._on_call)
        return self

    def __exit__(self, *_: object) -> None:
        sys.settrace(self._previous)
        self._owners.clear()

    def _on_call(self, frame: FrameType, event: str, _arg: Any) -> Any:
        code = frame.f_code
        watched = self._watched.get(code)
        if watched is None:
            name = frame.f_globals.get("__name__", "")
            watched = not code.co_name.startswith("<") and any(part in name for part in self._inside)
            self._watched[code] = watched
        if event != "call" or not watched:
            return None
        owner = self._owner(frame)
        return None if owner is None else self._line_tracer(owner, code.co_name)

    def _owner(self, frame: FrameType) -> torch.nn.Module | None:
        code = frame.f_code
        if code.co_argcount > 0:
            first = frame.f_locals.get(code.co_varnames[0])
            found = self._modules.get(id(first))
            if found is not None and found is first:
                return found
        return self._owners[-1] if self._owners else None

    def _assigned(self, code: CodeType) -> dict[int, frozenset[str]]:
        if code not in self._assignments:
            self._assignments[code] = _assignments(code)
        return self._assignments[code]

    def _line_tracer(self, owner: torch.nn.Module, function: str) -> Any:
        """A tracer for one call. Holding the last object keeps its identity from being reused while it is compared."""
        last: dict[str, tuple[torch.Tensor, int]] = {}
        before = -1
        self._owners.append(owner)

        def trace(frame: FrameType, event: str, _arg: Any) -> Any:
            nonlocal before
            if event == "exception":
                return trace
            assigned = self._assigned(frame.f_code).get(before, frozenset())
            before = frame.f_lasti
            for name, value in list(frame.f_locals.items()):
                if not isinstance(value, torch.Tensor) or isinstance(value, torch.nn.Parameter):
                    continue
                known = last.get(name)
                version = _version(value)
                if known is None or known[0] is not value or known[1] != version or name in assigned:
                    last[name] = (value, version)
                    self._report(owner, function, name, value)
            if event == "return" and self._owners:
                self._owners.pop()
            return trace

        return trace


def _assignments(code: CodeType) -> dict[int, frozenset[str]]:
    """Local variables that each stretch of a function assigns, by the offset at which its line event comes."""
    starts = [offset for offset, _line in dis.findlinestarts(code)]
    found: dict[int, set[str]] = {start: set() for start in starts}
    start = -1
    for instruction in dis.get_instructions(code):
        start = instruction.offset if instruction.offset in found else start
        if start in found and instruction.opname.startswith("STORE_FAST"):
            # newer interpreters store two names, or store one and load another, in one instruction
            names = instruction.argval if isinstance(instruction.argval, tuple) else (instruction.argval,)
            found[start].update(names[:1] if instruction.opname == "STORE_FAST_LOAD_FAST" else names)
    return {start: frozenset(names) for start, names in found.items() if names}


def _version(tensor: torch.Tensor) -> int:
    """How often a tensor was written to; 0 where torch does not count (inference mode)."""
    try:
        return tensor._version
    except RuntimeError:
        return 0
