"""Stochastic rounding from the definition, for stochastic-round.test.ts: the grid is all values that ml_dtypes
and numpy know, in float64. Reads {dtype, bits, random} as JSON, prints the bits of what must come out."""
import json
import sys

import ml_dtypes
import numpy as np

request = json.load(sys.stdin)
dtype = np.dtype(ml_dtypes.bfloat16 if request["dtype"] == "BF16" else np.float16)
x = np.array(request["bits"], np.uint32).view(np.float32)
random = np.array(request["random"], np.float64)
with np.errstate(all="ignore"):
    nearest = x.astype(dtype).astype(np.float32)
    every = np.arange(65536, dtype=np.uint16).view(dtype).astype(np.float64)
    grid = np.unique(every[np.isfinite(every)])
    result = nearest.copy()
    for at, value in enumerate(x.astype(np.float64)):
        if not np.isfinite(value) or not grid[0] < value < grid[-1] or value in grid:
            continue
        high = np.searchsorted(grid, value)
        low, high = grid[high - 1], grid[high]
        near, far = (low, high) if float(nearest[at]) == low else (high, low)
        if abs(value - near) > random[at] * (high - low):
            result[at] = np.copysign(far, value)
print(json.dumps(result.view(np.uint32).tolist()))
