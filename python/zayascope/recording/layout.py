"""Which axis of a value counts tokens. It is never guessed where two could be meant.

Tokens are [batch, T]. A value has a token axis if

- it is the same memory as a value whose axis is known, or the caller says which (`token_axis`);
- its first axis is the batch's and exactly one later one has size T, the last axis excepted: that one holds features, unless the value
  has only two axes and is of integers (ids, masks), or comes from a module that takes channels first;
- or its first axis has size batch * T, and no other axis that could be meant has size T: tokens of all sequences in a row.

Everything else, with two candidates or with none, is one value per step.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

_CHANNELS_FIRST = tuple(
    getattr(torch.nn, name)
    for name in ("Conv1d", "ConvTranspose1d", "BatchNorm1d", "InstanceNorm1d", "GroupNorm", "MaxPool1d", "AvgPool1d", "Upsample")
)


@dataclass(frozen=True)
class Layout:
    """`axis` of the tokens; `flat`: that axis counts the tokens of all sequences, else axis 0 is the batch's."""

    axis: int
    flat: bool = False

    def fits(self, shape: tuple[int, ...], batch: int, length: int) -> bool:
        """True if a value of `shape` can have this layout in a call of [batch, length] tokens."""
        if self.flat:
            return len(shape) > 0 and shape[0] == batch * length
        return len(shape) > self.axis and shape[0] == batch and shape[self.axis] == length

    def rows(self, values: np.ndarray, batch: int, length: int) -> np.ndarray:
        """The value as [batch, T, ...], other axes in their order; a view where possible."""
        if self.flat:
            return values.reshape(batch, length, *values.shape[1:])
        return np.moveaxis(values, self.axis, 1)

    def axes(self, rank: int) -> tuple[str, ...]:
        """Names of the axes after `rows`, without the batch's: `T`, and `dN` for what was axis N."""
        others = [axis for axis in range(rank) if axis != self.axis and (self.flat or axis != 0)]
        return ("T", *(f"d{axis}" for axis in others))


def find_layout(tensor: torch.Tensor, batch: int, length: int, module: torch.nn.Module | None) -> tuple[Layout | None, bool]:
    """The layout of a value that a module returned (None: of another value), and whether it is open: two axes could be meant."""
    shape, last = tuple(tensor.shape), tensor.ndim - 1
    integer = not tensor.is_floating_point() and not tensor.is_complex()
    features = _feature_axes(module, shape)
    if tensor.ndim >= 2 and shape[0] == batch:
        axes = [axis for axis in range(1, tensor.ndim) if shape[axis] == length and axis not in features]
        channels_first = isinstance(module, _CHANNELS_FIRST)
        if not channels_first and not (integer and tensor.ndim == 2):
            axes = [axis for axis in axes if axis != last]
        if axes:
            return (Layout(axes[0]), False) if len(axes) == 1 else (None, True)
    if tensor.ndim >= 1 and shape[0] == batch * length and 0 not in features and (tensor.ndim >= 2 or integer):
        others = [axis for axis in range(1, tensor.ndim) if shape[axis] in (length, batch * length) and axis not in features]
        # with one token nothing tells a token axis from any other axis of size 1 that comes first
        return (None, True) if others and length > 1 else (Layout(0, flat=True), False)
    return None, False


def _feature_axes(module: torch.nn.Module | None, shape: tuple[int, ...]) -> set[int]:
    """Axes of a module's output that hold features by what the module is."""
    if module is None or not shape:
        return set()
    if isinstance(module, _CHANNELS_FIRST):
        return {1} if len(shape) == 3 else set()
    if isinstance(module, (torch.nn.Linear, torch.nn.Embedding, torch.nn.Bilinear)):
        return {len(shape) - 1}
    own = [parameter for parameter in module.parameters(recurse=False)]
    # a norm: its one-dimensional weight goes along the last axis
    return {len(shape) - 1} if own and all(p.ndim == 1 and p.shape[0] == shape[-1] for p in own) else set()
