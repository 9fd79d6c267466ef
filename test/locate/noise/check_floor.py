"""What noise-measure.test.ts compares with: errors of two dumps from pyarrow and numpy, flips, and Student's t by
integration. Prints JSON."""
import json
import math
import sys

import numpy as np
import pyarrow as pa


def column(dump, file, tap):
    table = pa.ipc.open_file(f"{dump}/{file}").read_all().sort_by([("sequence", "ascending"), ("position", "ascending")])
    values = table[tap].combine_chunks()
    return np.asarray(values.to_numpy_ndarray() if hasattr(values, "to_numpy_ndarray") else values.to_numpy())


def student_tail(t, freedom):
    """P(T > t): Simpson's rule over the density, in x = t + s / (1 - s)."""
    constant = math.exp(math.lgamma((freedom + 1) / 2) - math.lgamma(freedom / 2)) / math.sqrt(freedom * math.pi)
    s = np.linspace(0, 1, 200001)[:-1]
    x = t + s / (1 - s)
    y = constant * (1 + x * x / freedom) ** (-(freedom + 1) / 2) / (1 - s) ** 2
    y = np.append(y, 0.0)
    weights = np.ones(len(y))
    weights[1:-1:2], weights[2:-1:2] = 4, 2
    return float((weights * y).sum() / 3 / (len(y) - 1))


reference, tested = sys.argv[1:3]
result = {"tail": [student_tail(t, 15) for t in (-1.0, 0.0, 1.0, 2.0, 5.6)], "nmse": {}, "flips": []}
for file, tap in (("layers.3.arrow", "layers.3"), ("model.arrow", "lm_head"), ("layers.0.arrow", "layers.0.self_attn.o_proj")):
    a, b = (column(dump, file, tap).astype(np.float64) for dump in (reference, tested))
    rows = tuple(range(1, a.ndim))
    result["nmse"][tap] = {
        "all": float(((a - b) ** 2).sum() / (a**2).sum()),
        "tokens": (((a - b) ** 2).sum(axis=rows) / (a**2).sum(axis=rows)).tolist(),
    }
for block in range(8):
    a, b = (column(dump, f"layers.{block}.arrow", f"layers.{block}.mlp.gate:expert") for dump in (reference, tested))
    result["flips"].append([int(at) for at in np.flatnonzero(a != b)])
print(json.dumps(result))
