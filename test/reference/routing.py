"""Routing of a dump, from its expert and margin taps. Prints JSON.

    python test/reference/routing.py DUMP

Output: {"experts": [[expert per token] per block], "minMargin": smallest margin of all, "skipClass": index of the skip class}.
"""

import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "dumps" / "reference"))
from dump_reader import DumpReader  # noqa: E402

reader = DumpReader(Path(sys.argv[1]))
blocks = range(reader.manifest["model"]["config"]["num_hidden_layers"])
print(json.dumps({
    "experts": [reader.read(f"layers.{n}.mlp.gate:expert").tolist() for n in blocks],
    "minMargin": min(float(reader.read(f"layers.{n}.mlp.gate:margin").min()) for n in blocks),
    "skipClass": reader.manifest["model"]["config"]["num_experts"],
}))
