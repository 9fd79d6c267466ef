"""Per-row statistics of a tensor, as the package in `python/` computes them."""

import errors  # noqa: F401  finds the package
import numpy as np
import torch
from zayascope.format import stats
from zayascope.format.dtypes import storage_array, torch_dtype_name

COLUMNS = stats.COLUMNS


def row_stats(values: torch.Tensor) -> dict[str, np.ndarray]:
    """Statistics of each row of `values` [rows, elements]: count, min, max, mean, rms, absmax, nan, inf.

    The five float columns are NaN where a row has no finite element.
    """
    return stats.row_stats(storage_array(values), torch_dtype_name(values.dtype))
