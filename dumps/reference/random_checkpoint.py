"""Makes a seeded random ZAYA checkpoint of any configuration, with no value left at its default.

    python dumps/reference/random_checkpoint.py --out DIR --seed 1 --layers 4 --experts 5

Balancing biases are fitted on random tokens, block by block, so that routing does not collapse and some tokens skip.
"""

import argparse
import sys
from pathlib import Path

import torch

from balancing import fit_biases
from checkpoint_writer import round_parameters, save_checkpoint

DTYPES = {"bf16": torch.bfloat16, "f16": torch.float16, "f32": torch.float32}
CALIBRATION_TOKENS = 384


def main(arguments: list[str] | None = None) -> int:
    args = _parse(arguments)
    dtype = DTYPES[args.dtype]
    generator = torch.Generator().manual_seed(args.seed)
    model = build_model(args)
    with torch.no_grad():
        for name, parameter in sorted(model.named_parameters()):
            parameter.copy_(random_values(name, parameter.shape, generator))
    round_parameters(model, dtype)
    fit_routers(model, args.skip_share, generator)
    save_checkpoint(model, args.out, dtype, args.shards)
    print(f"{args.out}: {sum(p.numel() for p in model.parameters())} parameters, {args.dtype}")
    return 0


def build_model(args: argparse.Namespace):
    from transformers import ZayaConfig, ZayaForCausalLM

    sliding = {int(n) for n in args.sliding_layers.split(",") if n} if args.sliding_layers else set()
    rope = {"rope_type": "default", "rope_theta": args.rope_theta, "partial_rotary_factor": args.partial_rotary}
    config = ZayaConfig(
        vocab_size=args.vocab,
        hidden_size=args.hidden,
        num_hidden_layers=args.layers,
        num_attention_heads=args.heads,
        num_key_value_heads=args.kv_heads,
        head_dim=args.head_dim,
        num_experts=args.experts,
        moe_intermediate_size=args.intermediate,
        router_hidden_size=args.router_hidden,
        cca_time0=args.cca_time0,
        cca_time1=args.cca_time1,
        rope_parameters={"hybrid": dict(rope), "hybrid_sliding": dict(rope, rope_theta=args.rope_theta / 7)},
        layer_types=["hybrid_sliding" if n in sliding else "hybrid" for n in range(args.layers)],
        sliding_window=args.sliding_window if sliding else None,
        tie_word_embeddings=not args.untied,
        attention_bias=args.attention_bias,
        lm_head_bias=args.lm_head_bias,
        max_position_embeddings=4096,
        pad_token_id=0,
        bos_token_id=1,
        eos_token_id=2,
    )
    model = ZayaForCausalLM._from_config(config, attn_implementation="eager", experts_implementation="eager")
    return model.eval()


def random_values(name: str, shape: torch.Size, generator: torch.Generator) -> torch.Tensor:
    """Values for a parameter by its name: scales around 1, biases around 0, matrices of unit gain (router: twice that)."""
    noise = torch.randn(shape, generator=generator)
    leaf, parent = name.split(".")[-1], name.split(".")[-2]
    if leaf in ("hidden_states_scale", "residual_scale", "input_hidden_states_scale") or parent.endswith("norm"):
        # `temp` of qk_norm too: a key temperature around 1
        return 1 + 0.2 * noise.clamp(-3, 3)
    if leaf == "router_states_scale":
        return 0.6 + 0.2 * noise.clamp(-2.5, 2.5)
    if leaf == "bias" or leaf.endswith("_bias"):
        return 0.1 * noise
    if parent == "embed_tokens":
        return noise
    fan_in = shape[-1] if parent not in ("conv_qk_depthwise", "conv_qk_grouped") else shape[-1] * shape[-2]
    return noise * (2.0 if ".router_mlp." in name else 1.0) * fan_in**-0.5


def fit_routers(model, skip_share: float, generator: torch.Generator) -> None:
    """Fits each router's balancing biases while one forward pass on random tokens reaches it."""
    handles = []
    for block in model.model.layers:
        gate = block.mlp.gate

        def fit(_module, _args, logits, gate=gate) -> None:
            biases = fit_biases(logits.softmax(-1)[0], skip_share)
            gate.balancing_biases.copy_(biases + 0.002 * torch.randn(biases.shape, generator=generator))

        # the biases are read after this module has run
        handles.append(gate.router_mlp.register_forward_hook(fit))
    tokens = torch.randint(0, model.config.vocab_size, (1, CALIBRATION_TOKENS), generator=generator)
    with torch.no_grad():
        model(input_ids=tokens, use_cache=False)
    for handle in handles:
        handle.remove()


def _parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="random_checkpoint.py", description=__doc__.split("\n")[0], formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    parser.add_argument("--out", type=Path, required=True, help="folder of the checkpoint")
    sizes = {"hidden": 96, "layers": 3, "heads": 8, "kv-heads": 2, "head-dim": 16, "experts": 5, "intermediate": 48}
    sizes |= {"router-hidden": 24, "vocab": 199, "cca-time0": 2, "cca-time1": 2, "sliding-window": 5, "shards": 1, "seed": 1}
    for name, default in sizes.items():
        parser.add_argument(f"--{name}", type=int, default=default, help=name.replace("-", " "))
    parser.add_argument("--rope-theta", type=float, default=5e5, help="RoPE base; sliding layers use a seventh of it")
    parser.add_argument("--partial-rotary", type=float, default=0.5, help="share of the head that is rotated")
    parser.add_argument("--sliding-layers", default="", help="comma list of blocks with a sliding window")
    parser.add_argument("--skip-share", type=float, default=0.08, help="share of tokens that should take the skip class")
    parser.add_argument("--dtype", choices=DTYPES, default="bf16", help="stored dtype")
    for flag, text in (("untied", "own lm_head"), ("attention-bias", "biases on projections"), ("lm-head-bias", "bias on lm_head")):
        parser.add_argument(f"--{flag}", action="store_true", help=text)
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
