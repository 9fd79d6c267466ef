"""Gradients of modules' outputs in an unmodified transformers model, by PyTorch's autograd.

    model_gradients.py MODEL OUT   with {"tokens": [..], "seed": [..]} on standard input

The gradients are those of the sum of logits times seed. Their float32 values are appended to OUT, and their
names with their numbers of values printed in that order.
"""

import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[3] / "dumps" / "reference"))

import torch  # noqa: E402
from checkpoint import load_model, read_headers  # noqa: E402

folder, out = sys.argv[1:]
request = json.load(sys.stdin)
model = load_model(Path(folder), torch.float32, read_headers(Path(folder)))
calls: dict[str, list[torch.Tensor]] = {}


def keep(name: str):
    def hook(module, inputs, output):
        if isinstance(output, torch.Tensor) and output.requires_grad:
            output.retain_grad()
            calls.setdefault(name, []).append(output)

    return hook


for name, module in model.named_modules():
    module.register_forward_hook(keep(name.removeprefix("model.")))
tokens = len(request["tokens"])
logits = model(torch.tensor([request["tokens"]]), use_cache=False).logits[0]
(logits * torch.tensor(request["seed"]).reshape(logits.shape)).sum().backward()
found = []
with open(out, "wb") as file:
    for name, outputs in calls.items():
        gradient = outputs[0].grad
        # A module that is called for several things has no gradient of its own.
        if not name or len(outputs) > 1 or gradient is None:
            continue
        if ".conv_qk_" in name:  # channels come first, and rows before the tokens
            gradient = gradient.mT[:, -tokens:]
        found.append((name, gradient.numel()))
        file.write(gradient.contiguous().numpy().tobytes())
print(json.dumps(found))
