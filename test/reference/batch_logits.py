"""What unmodified transformers computes for a left-padded batch, and greedily generated tokens.

    python test/reference/batch_logits.py MODEL < {"prompts": [[5, 17], [9]], "greedy": {"prompt": [5], "tokens": 64}}

Prints {"logits": base64 of F32 [B, T, V], "tokens": T, "greedy": [ids]}; prompts are padded on the left with an attention mask.
"""

import base64
import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2] / "dumps" / "reference"))

import torch  # noqa: E402

from checkpoint import load_model, read_headers  # noqa: E402


def main() -> None:
    path = Path(sys.argv[1])
    request = json.load(sys.stdin)
    model = load_model(path, torch.float32, read_headers(path))
    result = {}
    with torch.no_grad():
        prompts = request["prompts"]
        width = max(map(len, prompts))
        pad = model.config.pad_token_id or 0
        ids = torch.tensor([[pad] * (width - len(prompt)) + prompt for prompt in prompts])
        mask = torch.tensor([[0] * (width - len(prompt)) + [1] * len(prompt) for prompt in prompts])
        logits = model(ids, attention_mask=mask, use_cache=False).logits
        result["logits"] = base64.b64encode(logits.numpy().astype("<f4").tobytes()).decode()
        result["tokens"] = width
        if "greedy" in request:
            prompt = torch.tensor([request["greedy"]["prompt"]])
            count = request["greedy"]["tokens"]
            out = model.generate(prompt, max_new_tokens=count, min_new_tokens=count, do_sample=False)
            result["greedy"] = out[0, prompt.shape[1] :].tolist()
    json.dump(result, sys.stdout)


main()
