"""Follows values through the functions between modules: an addition of two outputs is made of both."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch.overrides import TorchFunctionMode

from .storages import Storages


class FunctionEdges(TorchFunctionMode):
    """While it is open, the result of every torch function is known to be made of what its arguments are made of.

    Functions run as they would without it: only their arguments and results are looked at.
    """

    def __init__(self, storages: Storages) -> None:
        super().__init__()
        self._storages = storages

    def __torch_function__(self, func: Callable, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        kwargs = kwargs or {}
        result = func(*args, **kwargs)
        written = _first_written(func, args, kwargs)
        if isinstance(result, (torch.Tensor, tuple, list)) or written is not None:
            with torch._C.DisableTorchFunction():
                sources: frozenset[str] = frozenset()
                for tensor in _tensors((*args, *kwargs.values())):
                    sources |= self._storages.sources(tensor)
                if sources:
                    for tensor in _tensors((result, written)):
                        self._storages.add(tensor, sources)
        return result


def _first_written(func: Callable, args: tuple, kwargs: dict) -> Any:
    """What a function without result writes to: `x[i] = y`, or `out=`."""
    if getattr(func, "__name__", "") in ("__setitem__", "__set__") and args:
        return args[0]
    return kwargs.get("out")


def _tensors(values: Iterable[Any]) -> Iterable[torch.Tensor]:
    for value in values:
        if isinstance(value, torch.Tensor):
            yield value
        elif isinstance(value, (tuple, list)):
            yield from _tensors(value)
