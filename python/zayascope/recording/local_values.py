"""Values inside a module's forward: the local variables that its source names, seen line by line through `sys.settrace`."""

from __future__ import annotations

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
    again when it is bound to another tensor, or when its tensor was written to. Arguments count as the first value; parameters of
    the model are passed over.
    """

    def __init__(self, inside: Sequence[str], modules: dict[int, torch.nn.Module], report: OnValue) -> None:
        self._inside = tuple(inside)
        self._modules = modules
        self._report = report
        self._watched: dict[CodeType, bool] = {}
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

    def _line_tracer(self, owner: torch.nn.Module, function: str) -> Any:
        """A tracer for one call. Holding the last object keeps its identity from being reused while it is compared."""
        last: dict[str, tuple[torch.Tensor, int]] = {}
        self._owners.append(owner)

        def trace(frame: FrameType, event: str, _arg: Any) -> Any:
            for name, value in list(frame.f_locals.items()):
                if not isinstance(value, torch.Tensor) or isinstance(value, torch.nn.Parameter):
                    continue
                known = last.get(name)
                version = _version(value)
                if known is None or known[0] is not value or known[1] != version:
                    last[name] = (value, version)
                    self._report(owner, function, name, value)
            if event == "return" and self._owners:
                self._owners.pop()
            return trace

        return trace


def _version(tensor: torch.Tensor) -> int:
    """How often a tensor was written to; 0 where torch does not count (inference mode)."""
    try:
        return tensor._version
    except RuntimeError:
        return 0
