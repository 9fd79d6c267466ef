"""Recomputes a dump's statistics from its tensors, one row at a time. Prints JSON.

    python test/reference/check_stats.py DUMP

Output: {"rows", "worst": {column: largest difference relative to the row's largest magnitude}, "odd": statistics of rows with NaN
and infinity, as text because JSON has no NaN}.
"""

import json
import math
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "dumps" / "reference"))

import numpy as np  # noqa: E402
import pyarrow as pa  # noqa: E402
import torch  # noqa: E402
from dump_reader import DumpReader  # noqa: E402
from row_stats import row_stats  # noqa: E402


def differences(reader: DumpReader, stats: list[dict]) -> dict[str, float]:
    worst = dict.fromkeys(("min", "max", "mean", "rms", "absmax", "count", "nan", "inf"), 0.0)
    name, values = None, None
    for row in stats:
        if row["tap"] != name:
            name = row["tap"]
            values = reader.read(name).astype(np.float64)
        at = 0 if reader.taps[name]["scope"] == "step" else row["position"]
        x = values[at].reshape(-1).tolist()
        expected = {"min": min(x), "max": max(x), "mean": math.fsum(x) / len(x), "count": len(x), "nan": 0, "inf": 0}
        expected |= {"rms": math.sqrt(math.fsum(v * v for v in x) / len(x)), "absmax": max(map(abs, x))}
        for column, value in expected.items():
            worst[column] = max(worst[column], abs(row[column] - value) / max(expected["absmax"], 1e-300))
    return worst


def odd_rows() -> dict[str, list[str]]:
    nan, inf = math.nan, math.inf
    rows = torch.tensor([[3.0, nan, -4.0, inf], [nan, nan, -inf, nan], [0.0, -0.0, 0.0, 0.0]])
    return {column: [str(value) for value in values.tolist()] for column, values in row_stats(rows).items()}


dump = Path(sys.argv[1])
stats = pa.ipc.open_file(dump / "stats.arrow").read_all().to_pylist()
sampled = [row for row in stats if row["block"] in (-1, 0, 5)]
print(json.dumps({"rows": len(sampled), "worst": differences(DumpReader(dump), sampled), "odd": odd_rows()}))
