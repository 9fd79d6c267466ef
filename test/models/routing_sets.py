"""Routing of two dumps of a model with several experts a token, with pyarrow and numpy: `routing_sets.py REFERENCE TESTED`; prints JSON."""

import json
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa


def column(folder: Path, block: int, suffix: str) -> np.ndarray:
    with pa.memory_map(str(folder / f"layers.{block}.arrow")) as file:
        table = pa.ipc.open_file(file).read_all()
    values = table.column(f"layers.{block}.mlp.gate{suffix}")
    return np.array(values.to_pylist())


reference, tested = map(Path, sys.argv[1:])
flips, margins = [], []
for block in range(4):
    mine, theirs = (column(folder, block, ":expert") for folder in (reference, tested))
    probabilities = np.sort(column(reference, block, ":router_probs"), axis=-1)[:, ::-1]
    margins += (probabilities[:, 1] - probabilities[:, 2]).tolist()
    for position, (a, b) in enumerate(zip(mine, theirs)):
        lost, taken = np.setdiff1d(a, b).tolist(), np.setdiff1d(b, a).tolist()
        if lost:
            own = column(reference, block, ":router_probs")[position]
            leads = {f"{a} {b}": float(own[a] - own[b]) for a in lost for b in taken}
            flips.append({"block": block, "position": position, "lost": lost, "taken": taken, "leads": leads})
print(json.dumps({"flips": flips, "margins": margins, "first": [column(reference, block, ":expert")[:, 0].tolist() for block in range(4)]}))
