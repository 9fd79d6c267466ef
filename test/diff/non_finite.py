"""What numpy says of pairs of arrays with values that are not finite, for non-finite.test.ts: JSON in, JSON out."""

import json
import sys

import numpy as np


def measure(a: list, b: list) -> dict:
    a, b = (np.array([float(x) for x in side], dtype=np.float32) for side in (a, b))
    both = np.isfinite(a) & np.isfinite(b)
    x, y = a[both].astype(np.float64), b[both].astype(np.float64)
    error = x - y
    return {
        "nan": {"reference": int(np.isnan(a).sum()), "tested": int(np.isnan(b).sum())},
        "inf": {"reference": int(np.isinf(a).sum()), "tested": int(np.isinf(b).sum())},
        "pairs": int((~both).sum()),
        "sameInfinities": int((np.isinf(a) & (a == b)).sum()),
        "bothNaN": int((np.isnan(a) & np.isnan(b)).sum()),
        "nmse": float((error**2).sum() / (x**2).sum()),
        "maxAbs": float(np.abs(error).max()),
        "argmax": int(np.nanargmax(np.abs(error))),
        "first": int(np.argmin(both)),
    }


print(json.dumps([measure(*pair) for pair in json.load(sys.stdin)]))
