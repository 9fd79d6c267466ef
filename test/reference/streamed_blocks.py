"""Which decoder blocks hold weights while a streamed model runs: one list per block, at the moment it has run. Prints JSON.

    python test/reference/streamed_blocks.py MODEL

Output: {"during": [[blocks with weights] per block], "after": [...], "outside": [tensors outside of the blocks without values]}.
"""

import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "dumps" / "reference"))

import torch  # noqa: E402
from checkpoint import read_headers  # noqa: E402
from streaming import stream_model  # noqa: E402


def blocks_with_weights() -> list[int]:
    return [n for n, block in enumerate(blocks) if any(not value.is_meta for value in block.state_dict().values())]


path = Path(sys.argv[1])
model = stream_model(path, torch.float32, read_headers(path))
blocks = model.model.layers
during: list[list[int]] = []
for block in blocks:
    block.mlp.register_forward_hook(lambda *_: during.append(blocks_with_weights()))
with torch.no_grad():
    model(input_ids=torch.tensor([[5, 17, 9]]), use_cache=False)
named = [*model.named_parameters(), *model.named_buffers()]
outside = [name for name, value in named if value.is_meta and not name.startswith("model.layers.")]
print(json.dumps({"during": during, "after": blocks_with_weights(), "outside": outside}))
