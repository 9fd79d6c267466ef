"""Which recorded value a tensor's memory came from: the edges of a dump.

A value is known by the storage object behind it and its place in it. Storages are held by weak references: their memory is freed as
if nobody watched, but the object's address is not used again while the reference lives, so recycled memory makes no false edge.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch.multiprocessing.reductions import StorageWeakRef

from .layout import Layout

# Values remembered of one storage: the first, and the latest. A loop that fills a buffer row by row makes thousands.
MAX_VALUES = 64

Geometry = tuple[int, tuple[int, ...], tuple[int, ...]]


class Known(NamedTuple):
    """A value seen: where it lies in its storage, the recorded values that it is or was made of, and its layout where known."""

    geometry: Geometry
    low: int
    high: int
    dense: bool
    sources: frozenset[str]
    layout: Layout | None


class Storages:
    """The tensors of one call, by storage."""

    def __init__(self) -> None:
        self._known: dict[int, tuple[StorageWeakRef, list[Known]]] = {}

    def clear(self) -> None:
        """Forgets everything."""
        self._known.clear()

    def add(self, tensor: torch.Tensor, sources: frozenset[str], layout: Layout | None = None) -> None:
        """Remembers that `tensor` holds the value of `sources`."""
        key = _storage(tensor)
        if key is None:
            return
        number, reference = key
        low, high, dense = _range(tensor)
        known = Known(_geometry(tensor), low, high, dense, sources, layout)
        values = self._known.setdefault(number, (reference, []))[1]
        values.append(known)
        if len(values) > MAX_VALUES:
            del values[1]

    def find(self, tensor: torch.Tensor) -> Known | None:
        """The latest value that this very tensor is, or else the latest whose memory holds all of it."""
        key = _storage(tensor)
        if key is None or key[0] not in self._known:
            return None
        entries = self._known[key[0]][1]
        geometry = _geometry(tensor)
        for known in reversed(entries):
            if known.geometry == geometry:
                return known
        low, high, _ = _range(tensor)
        return next((known for known in reversed(entries) if known.dense and known.low <= low and high <= known.high), None)

    def same(self, tensor: torch.Tensor) -> Known | None:
        """The latest value that is this very tensor: the same memory, shape and strides."""
        found = self.find(tensor)
        return found if found is not None and found.geometry == _geometry(tensor) else None

    def sources(self, tensor: torch.Tensor) -> frozenset[str]:
        """The recorded values that the tensor's memory came from."""
        found = self.find(tensor)
        return frozenset() if found is None else found.sources


def _storage(tensor: torch.Tensor) -> tuple[int, StorageWeakRef] | None:
    try:
        if tensor.is_nested or torch._C._functorch.is_functorch_wrapped_tensor(tensor):
            return None
        tensor.storage_offset(), tensor.stride()
        reference = StorageWeakRef(tensor.untyped_storage())
    except (NotImplementedError, RuntimeError, AttributeError, TypeError):
        return None  # sparse and other tensors without plain memory
    return reference.cdata, reference


def _geometry(tensor: torch.Tensor) -> Geometry:
    return tensor.storage_offset() * tensor.element_size(), tuple(tensor.shape), tuple(tensor.stride())


def _range(tensor: torch.Tensor) -> tuple[int, int, bool]:
    """First byte, byte after the last, and whether every byte between belongs to the tensor."""
    size, offset = tensor.element_size(), tensor.storage_offset()
    if tensor.numel() == 0:
        return offset * size, offset * size, False
    last = sum((n - 1) * stride for n, stride in zip(tensor.shape, tensor.stride()))
    return offset * size, (offset + last + 1) * size, last + 1 == tensor.numel()
