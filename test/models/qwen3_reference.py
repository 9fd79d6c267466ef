"""Seeded Qwen3 checkpoints, what unmodified transformers makes of them, and greedy continuations: `qwen3_reference.py FOLDER`; prints JSON."""

import json
import sys
from pathlib import Path

import torch
from transformers import Qwen3Config, Qwen3ForCausalLM, Qwen3MoeConfig, Qwen3MoeForCausalLM

sys.path.insert(0, str(Path(__file__).parents[2] / "dumps" / "reference"))
import dump  # noqa: E402

COMMON = dict(vocab_size=97, hidden_size=64, num_attention_heads=4, num_key_value_heads=2, head_dim=32, intermediate_size=96, max_position_embeddings=512)
MOE = dict(num_experts=8, num_experts_per_tok=2, moe_intermediate_size=32, norm_topk_prob=True)
MODELS = {
    "moe": Qwen3MoeConfig(**COMMON, **MOE, num_hidden_layers=4, rms_norm_eps=1e-5),
    "dense": Qwen3Config(**COMMON, num_hidden_layers=3, tie_word_embeddings=True, rope_theta=1e6),
    "mixed": Qwen3MoeConfig(
        **{**COMMON, **MOE, "norm_topk_prob": False, "num_experts_per_tok": 3, "attention_bias": True},
        num_hidden_layers=4,
        mlp_only_layers=[0],
        decoder_sparse_step=2,
    ),
    "sliding": Qwen3Config(**COMMON, num_hidden_layers=3, use_sliding_window=True, sliding_window=5, max_window_layers=1),
    "one block": Qwen3MoeConfig(**COMMON, **MOE, num_hidden_layers=1),
    "60 blocks": Qwen3MoeConfig(**{**COMMON, **MOE, "hidden_size": 32, "moe_intermediate_size": 16}, num_hidden_layers=60),
}
TOKENS = [1, 5, 9, 33, 2, 8, 90, 17, 4, 4, 61, 7]


def _weights_not_normed(model) -> None:
    model.model.layers[2].mlp.gate.norm_topk_prob = False


def _epsilon(model) -> None:
    model.model.layers[1].self_attn.k_norm.variance_epsilon = 1e-1


def _scaling(model) -> None:
    model.model.layers[0].self_attn.scaling *= 1.1


# What is changed in the model that ran, and which op is wrong then.
FAULTS = {
    "layers.2.mlp.gate:expert_weight": _weights_not_normed,
    "layers.1.self_attn.k_norm": _epsilon,
    "layers.0.self_attn:attn_weights": _scaling,
}


def eager(path: Path):
    return Qwen3MoeForCausalLM.from_pretrained(
        path, dtype=torch.float32, attn_implementation="eager", experts_implementation="eager"
    ).eval()


def seeded(config, seed: int):
    torch.manual_seed(seed)
    model = (Qwen3MoeForCausalLM if config.model_type == "qwen3_moe" else Qwen3ForCausalLM)(config)
    with torch.no_grad():
        for name, value in model.named_parameters():
            noise = torch.randn_like(value)
            value.copy_(1 + 0.2 * noise if "norm" in name else noise * value.shape[-1] ** -0.5)
    return model.eval()


def main(folder: Path) -> None:
    result = {}
    for seed, (name, config) in enumerate(MODELS.items()):
        model = seeded(config, seed)
        path = folder / name
        model.save_pretrained(path)
        arguments = ["--model", str(path), "--tokens", ",".join(map(str, TOKENS)), "--dtype", "float32", "--quiet"]
        dump.dump(dump.parse([*arguments, "--out", str(folder / f"{name} reference")]))
        if name in ("moe", "dense"):
            dump.dump(dump.parse([*arguments, "--out", str(folder / f"{name} streamed"), "--stream"]))
        for fault, plant in FAULTS.items() if name == "moe" else ():
            faulty = eager(path)
            plant(faulty)
            dump.dump(dump.parse([*arguments, "--out", str(folder / fault), "--no-verify"]), load=lambda *_, it=faulty: it)
        ids = torch.tensor([TOKENS])
        greedy = model.generate(ids, max_new_tokens=32, do_sample=False, pad_token_id=0)[0, len(TOKENS) :]
        result[name] = greedy.tolist()
    print(json.dumps({"tokens": TOKENS, "greedy": result, "faults": list(FAULTS)}))


main(Path(sys.argv[1]))
