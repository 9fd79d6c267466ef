"""Per-row statistics of a tap, as the dump format defines them: over finite elements, accumulated in float64."""

from __future__ import annotations

import numpy as np

from .dtypes import widen

# Rows are widened to float64 in pieces of about this many elements, so that logits of a large vocabulary stay cheap.
CHUNK_ELEMENTS = 4_000_000

COLUMNS = ("min", "max", "mean", "rms", "absmax")


def row_stats(values: np.ndarray, dtype: str) -> dict[str, np.ndarray]:
    """Statistics of each row of stored `values` [rows, items]: count, min, max, mean, rms, absmax, nan, inf.

    The five float columns are NaN where a row has no finite element.
    """
    rows, items = values.shape
    step = max(1, CHUNK_ELEMENTS // max(1, items))
    pieces = [double_stats(widen(values[i : i + step], dtype).astype(np.float64)) for i in range(0, max(rows, 1), step)]
    return {key: np.concatenate([piece[key] for piece in pieces]) for key in pieces[0]}


def double_stats(x: np.ndarray) -> dict[str, np.ndarray]:
    """The statistics of `row_stats` for rows that are float64 already; sums go along the rows as they lie in memory."""
    nan, inf = np.isnan(x), np.isinf(x)
    finite = ~(nan | inf)
    count = finite.sum(axis=1)
    clean = np.where(finite, x, 0.0)
    low = np.where(finite, x, np.inf).min(axis=1, initial=np.inf)
    high = np.where(finite, x, -np.inf).max(axis=1, initial=-np.inf)
    divisor = np.where(count > 0, count, 1)
    # the largest doubles overflow when squared: the format says what double precision gives
    with np.errstate(over="ignore", invalid="ignore"):
        columns = {
            "min": low,
            "max": high,
            "mean": clean.sum(axis=1) / divisor,
            "rms": np.sqrt((clean * clean).sum(axis=1) / divisor),
            "absmax": np.maximum(np.abs(low), np.abs(high)),
        }
    result = {key: np.where(count > 0, column, np.nan) for key, column in columns.items()}
    result["count"] = np.full(len(x), x.shape[1], dtype=np.int32)
    result["nan"] = nan.sum(axis=1).astype(np.int32)
    result["inf"] = inf.sum(axis=1).astype(np.int32)
    return result
