"""What unmodified transformers computes in BF16 over many prompts, and how far it moves if only the order of its sums changes.

    python test/locate/bfloat16_spread.py MODEL < {"prompt": [ids], "prompts": 16}

Prints {"tokens": [P, T], "bf16": {"logits": base64 of F32 [P, T, V], "experts": [P, L, T]}, "reordered": the same}. The first prompt is the given one, the others are windows of
seeded text. "reordered" permutes the inner axis of every linear layer's product: in exact arithmetic nothing changes.
"""

import base64
import json
import random
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2] / "dumps" / "reference"))

import torch  # noqa: E402

from byte_tokenizer import encode_text  # noqa: E402
from checkpoint import load_model, read_headers  # noqa: E402
from corpus import corpus  # noqa: E402


def main() -> None:
    torch.set_num_threads(1)  # waiting for each other takes longer than the work
    request = json.load(sys.stdin)
    path = Path(sys.argv[1])
    model = load_model(path, torch.bfloat16, read_headers(path))
    prompts = [request["prompt"], *_windows(request["prompts"] - 1, len(request["prompt"]))]
    result = {"tokens": prompts, "bf16": _run_all(model, prompts)}
    linear = torch.nn.functional.linear

    def reordered(x, weight, bias=None):
        order = torch.randperm(weight.shape[-1], generator=torch.Generator().manual_seed(weight.shape[-1]))
        return linear(x[..., order].contiguous(), weight[..., order].contiguous(), bias)

    torch.nn.functional.linear = reordered
    result["reordered"] = _run_all(model, prompts)
    json.dump(result, sys.stdout)


def _windows(count: int, length: int) -> list[list[int]]:
    generator = random.Random(7)
    ids = encode_text("\n".join(corpus(991, 6000)))
    starts = [generator.randrange(len(ids) - length) for _ in range(count)]
    return [ids[:1] + ids[start + 1 : start + length] for start in starts]


def _run_all(model, prompts: list[list[int]]) -> dict:
    runs = [_run(model, prompt) for prompt in prompts]
    logits = torch.stack([logits for logits, _ in runs])
    return {
        "logits": base64.b64encode(logits.numpy().astype("<f4").tobytes()).decode(),
        "experts": [experts for _, experts in runs],
    }


def _run(model, prompt: list[int]) -> tuple[torch.Tensor, list[list[int]]]:
    experts: list[list[int]] = []

    def hook(_module, _inputs, outputs) -> None:
        _, weights, indices, _ = outputs
        # The router hides the skip class behind expert 0 with weight 0.
        experts.append(indices.masked_fill(weights == 0, model.config.num_experts).flatten().tolist())

    handles = [layer.mlp.gate.register_forward_hook(hook) for layer in model.model.layers]
    with torch.no_grad():
        logits = model(input_ids=torch.tensor([prompt]), use_cache=False).logits[0].float()
    for handle in handles:
        handle.remove()
    return logits, experts


if __name__ == "__main__":
    main()
