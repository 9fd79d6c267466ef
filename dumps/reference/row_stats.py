"""Per-row statistics of a tensor, as the package in `python/` computes them."""

import errors  # noqa: F401  finds the package
import numpy as np
import torch
from zayascope.format.stats import CHUNK_ELEMENTS, COLUMNS, double_stats

__all__ = ["COLUMNS", "row_stats"]


def row_stats(values: torch.Tensor) -> dict[str, np.ndarray]:
    """Statistics of each row of `values` [rows, elements]: count, min, max, mean, rms, absmax, nan, inf.

    The five float columns are NaN where a row has no finite element.
    """
    rows, elements = values.shape
    step = max(1, CHUNK_ELEMENTS // max(1, elements))
    # a transposed value stays transposed, and its sums keep their order: committed dumps hold their bits
    pieces = [double_stats(values[i : i + step].to(torch.float64).numpy()) for i in range(0, rows, step)]
    return {key: np.concatenate([piece[key] for piece in pieces]) for key in pieces[0]}
