"""Per-row statistics of a tap, as the dump format defines them: over finite elements, accumulated in float64."""

import numpy as np
import torch

# Rows are widened to float64 in pieces of about this many elements, so that logits of a large vocabulary stay cheap.
CHUNK_ELEMENTS = 4_000_000

COLUMNS = ("min", "max", "mean", "rms", "absmax")


def row_stats(values: torch.Tensor) -> dict[str, np.ndarray]:
    """Statistics of each row of `values` [rows, elements]: count, min, max, mean, rms, absmax, nan, inf.

    The five float columns are NaN where a row has no finite element.
    """
    rows, elements = values.shape
    step = max(1, CHUNK_ELEMENTS // max(1, elements))
    pieces = [_chunk(values[i : i + step].to(torch.float64).numpy()) for i in range(0, rows, step)]
    return {key: np.concatenate([piece[key] for piece in pieces]) for key in pieces[0]}


def _chunk(x: np.ndarray) -> dict[str, np.ndarray]:
    nan, inf = np.isnan(x), np.isinf(x)
    finite = ~(nan | inf)
    count = finite.sum(axis=1)
    clean = np.where(finite, x, 0.0)
    low = np.where(finite, x, np.inf).min(axis=1)
    high = np.where(finite, x, -np.inf).max(axis=1)
    divisor = np.where(count > 0, count, 1)
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
