"""Dumps of unmodified transformers, and of the same with arithmetic as ggml's sources say it.

    python test/locate/ggml_arithmetic.py --out DIR

- DIR/wide: a random checkpoint with heads of 128. DIR/wide-reference, and DIR/wide-ggml with RoPE angles multiplied up from pair to pair in float32.
- of the first 24 tokens DIR/wide-few, and with attention over an F16 cache DIR/wide-decode, whose four last steps of one token are summed in F16 as for AVX512-FP16, and DIR/wide-neon, one step whose products all
  are summed as for ARM's vectors; DIR/wide-unknown like that with one running sum, which no build has.
- of the tiny model DIR/tiny-reference, and DIR/tiny-f16 with matrices and their inputs in F16, as with an f16 file, where the experts' first product and the head are summed in F16, as `ggml_vec_dot_f16` does
  in a build for AVX512-FP16; DIR/tiny-neon the same for ARM's vectors.
"""

import argparse
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "dumps" / "reference"))

import dump  # noqa: E402
import numpy as np  # noqa: E402
import random_checkpoint  # noqa: E402
import torch  # noqa: E402
from checkpoint import load_model  # noqa: E402
from transformers.models.zaya import modeling_zaya  # noqa: E402

SIZES = {"layers": 1, "hidden": 64, "heads": 2, "kv-heads": 2, "head-dim": 128, "intermediate": 32, "rope-theta": 5e6}
TINY = ROOT / "dumps" / "tiny" / "model"


def ggml_tables(positions: np.ndarray, dims: int, base: float) -> tuple[np.ndarray, np.ndarray]:
    """cos and sin [tokens, dims] of the loop in ggml's rope: `theta = position`, then `theta *= base^(-2 / dims)` from pair to pair."""
    factor = np.power(np.float32(base), np.float32(-2.0) / np.float32(dims))
    theta = positions.astype(np.float32)
    angles = []
    for _ in range(dims // 2):
        angles.append(theta)
        theta = theta * factor
    table = np.stack([*angles, *angles], axis=-1)
    assert table.dtype == np.float32
    return np.cos(table), np.sin(table)


def with_ggml_angles(model):
    """The model with the output of its rotary embedding replaced; nothing else is touched."""

    def replace(_module, args, kwargs, output):
        config = model.config.rope_parameters[kwargs.get("layer_type") or args[2]]
        positions = (kwargs["position_ids"] if "position_ids" in kwargs else args[1]).numpy()
        tables = [ggml_tables(row, output[0].shape[-1], config["rope_theta"]) for row in positions]
        return tuple(torch.from_numpy(np.stack(part)) for part in zip(*tables))

    model.model.rotary_emb.register_forward_hook(replace, with_kwargs=True)
    return model


def f16_sums(x: np.ndarray, w: np.ndarray, lanes: int) -> np.ndarray:
    """[N, K] times [M, K], both float16, as float32 [N, M]: four accumulators of so many lanes, each sum rounded to float16. K must be a multiple of 4 * lanes."""
    sums = np.zeros((len(x), len(w), 4, lanes), np.float16)
    for k in range(0, x.shape[1], 4 * lanes):
        a, b = (rows[:, k : k + 4 * lanes].reshape(-1, 4, lanes).astype(np.float64) for rows in (x, w))
        # A fused multiply-add rounds once.
        sums = (a[:, None] * b[None] + sums.astype(np.float64)).astype(np.float16)
    sums = sums[:, :, :2] + sums[:, :, 2:]
    sums = sums[:, :, 0] + sums[:, :, 1]
    if lanes == 8:
        four = sums[..., :4].astype(np.float32) + sums[..., 4:].astype(np.float32)
        return (four[..., 0] + four[..., 1]) + (four[..., 2] + four[..., 3])
    while sums.shape[-1] > 1:
        half = sums.shape[-1] // 2
        sums = sums[..., :half] + sums[..., half:]
    return sums[..., 0].astype(np.float32)


def with_f16_products(model, lanes: int):
    """The model as a port multiplies that holds matrices in F16 but for the router's."""
    plain = torch.nn.functional.linear
    memory = lambda tensor: tensor.untyped_storage().data_ptr()  # noqa: E731
    summed, rounded = {memory(model.lm_head.weight)}, set()
    for block in model.model.layers:
        summed.add(memory(block.mlp.experts.gate_up_proj))
        rounded.add(memory(block.mlp.experts.down_proj))
        rounded.update(memory(module.weight) for module in block.self_attn.modules() if isinstance(module, torch.nn.Linear))

    def linear(x, weight, bias=None):
        at = memory(weight)
        if at not in summed and at not in rounded:
            return plain(x, weight, bias)
        assert bias is None
        x, weight = x.half(), weight.half()
        if at in rounded:
            return plain(x.float(), weight.float())
        rows = x.reshape(-1, x.shape[-1])
        return torch.from_numpy(f16_sums(rows.numpy(), weight.numpy(), lanes)).reshape(*x.shape[:-1], len(weight))

    torch.nn.functional.linear = linear
    return model


def running_sums(x: np.ndarray, w: np.ndarray) -> np.ndarray:
    """As `f16_sums`, product by product in their order."""
    sums = np.zeros((len(x), len(w)), np.float16)
    for a, b in zip(x.T.astype(np.float64), w.T.astype(np.float64)):
        sums = (np.outer(a, b) + sums.astype(np.float64)).astype(np.float16)
    return sums.astype(np.float32)


def with_f16_attention(model, sums, every_step: bool):
    """The model with queries, keys, weights and values in F16 as both products take them; in steps of one token, or in every step, those are summed by `sums`."""

    def product(x, y):
        """[B, heads, T, K] times [B, heads, N, K]."""
        x, y = x.half(), y.half()
        if x.shape[2] > 1 and not every_step:
            return x.float() @ y.float().transpose(2, 3)
        pairs = zip(x.flatten(0, 1).numpy(), y.flatten(0, 1).numpy())
        return torch.from_numpy(np.stack([sums(*pair) for pair in pairs])).unflatten(0, x.shape[:2])

    def attention(module, query, key, value, mask, scaling, **_):
        key, value = (part.repeat_interleave(module.num_key_value_groups, dim=1) for part in (key, value))
        scores = product(query, key) * scaling
        weights = torch.softmax(scores if mask is None else scores + mask, dim=-1)
        # The cache is read in whole rows of 256 cells.
        cells = -weights.shape[-1] % 256
        padded = [torch.nn.functional.pad(part, (0, cells)) for part in (weights, value.transpose(2, 3))]
        return product(*padded).transpose(1, 2).contiguous(), weights

    modeling_zaya.eager_attention_forward = attention
    return model


def dump_model(model: Path, tokens: list[int], out: Path, change=lambda model: model, more: tuple[str, ...] = ()) -> None:
    ids = ",".join(map(str, tokens))
    options = ["--model", model, "--tokens", ids, "--dtype", "float32", "--no-verify", "--quiet", "--out", out, *more]
    plain, attention = torch.nn.functional.linear, modeling_zaya.eager_attention_forward
    try:
        dump.dump(dump.parse([str(option) for option in options]), lambda *args: change(load_model(*args)))
    finally:
        torch.nn.functional.linear = plain
        modeling_zaya.eager_attention_forward = attention


def main(out: Path) -> None:
    torch.set_num_threads(1)
    sizes = [text for name, value in SIZES.items() for text in (f"--{name}", str(value))]
    random_checkpoint.main(["--out", str(out / "wide"), "--seed", "5", "--dtype", "f32", *sizes])
    many = [3 + (k * k) % 196 for k in range(400)]
    dump_model(out / "wide", many, out / "wide-reference")
    dump_model(out / "wide", many, out / "wide-ggml", with_ggml_angles)
    wide = [("few", lambda model: model, ())]
    wide.append(("decode", lambda model: with_f16_attention(model, lambda x, w: f16_sums(x, w, 32), False), ("--steps", "20,1,1,1,1")))
    wide.append(("neon", lambda model: with_f16_attention(model, lambda x, w: f16_sums(x, w, 8), True), ()))
    wide.append(("unknown", lambda model: with_f16_attention(model, running_sums, True), ()))
    for name, change, more in wide:
        dump_model(out / "wide", many[:24], out / f"wide-{name}", change, more)
    few = list(b"[Tuesday 11:05] captain ")
    dump_model(TINY, few, out / "tiny-reference")
    for name, lanes in (("f16", 32), ("neon", 8)):
        dump_model(TINY, few, out / f"tiny-{name}", lambda model: with_f16_products(model, lanes))


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--out", type=Path, required=True)
    main(parser.parse_args().out)
