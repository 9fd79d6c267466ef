"""Checks that the taps of an F32 dump fit together: each relation recomputes one tap from others and the checkpoint.

    python test/reference/relations.py DUMP MODEL

Prints JSON: {relation: largest error relative to the tap's largest value}. A tap read from the wrong variable, the wrong value of
a variable or in the wrong layout breaks at least one of them.
"""

import json
import sys
from math import erf, sqrt
from pathlib import Path

import numpy as np
from safetensors import safe_open

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "dumps" / "reference"))
from dump_reader import DumpReader  # noqa: E402

gelu = np.vectorize(lambda x: 0.5 * x * (1 + erf(x / sqrt(2))))


def silu(x):
    return x / (1 + np.exp(-x))


def softmax(x):
    e = np.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def load_weights(model: Path) -> dict[str, np.ndarray]:
    weights = {}
    for path in sorted(model.glob("*.safetensors")):
        with safe_open(path, framework="pt") as file:
            weights |= {name: file.get_tensor(name).double().numpy() for name in file.keys()}
    return weights


def relations(reader: DumpReader, weights: dict[str, np.ndarray], config: dict):
    """Yields (name, recomputed, dumped) for every relation of every block."""
    yield from model_relations(reader, weights)
    state = None
    for block in range(config["num_hidden_layers"]):
        root = f"layers.{block}"

        def tap(suffix):
            return reader.read(root + suffix).astype(np.float64)

        def weight(suffix):
            return weights[f"model.{root}{suffix}"]

        pairs = [*attention(tap, weight, config), *router(tap, weight, config, state), *residuals(tap, weight)]
        state = tap(".mlp.gate:router_hidden_states")
        for name, expected, got in pairs:
            yield f"{root}{name}", expected, got


def model_relations(reader, weights):
    embed = reader.read("embed_tokens").astype(np.float64)
    affine = (embed + weights["model.input_hidden_states_bias"]) * weights["model.input_hidden_states_scale"]
    yield "input_affine", affine, reader.read("input_affine")
    head = weights.get("lm_head.weight", weights["model.embed_tokens.weight"])
    yield "lm_head", reader.read("norm").astype(np.float64) @ head.T + weights.get("lm_head.bias", 0), reader.read("lm_head")


def attention(tap, weight, config):
    cca = ".self_attn.qkv_proj"
    nq, nk, d = config["num_attention_heads"], config["num_key_value_heads"], config["head_dim"]
    group = nq // nk
    q, k = tap(f"{cca}.q_proj"), tap(f"{cca}.k_proj")
    mean = 0.5 * (q.reshape(-1, nq, d) + np.repeat(k.reshape(-1, nk, d), group, axis=1))
    yield f"{cca}:query_residual", mean, tap(f"{cca}:query_residual")
    key_mean = mean.reshape(-1, nk, group, d).mean(2)
    yield f"{cca}:key_residual", key_mean, tap(f"{cca}:key_residual")
    conv_input = tap(f"{cca}:conv_input")
    yield f"{cca}:conv_input", np.concatenate([q, k], -1), conv_input
    # depthwise: the rows before the first token come from zeros in front of the input
    kernel, leads = config["cca_time0"], config["cca_time1"] - 1
    padded = np.concatenate([np.zeros((kernel - 1 + leads, conv_input.shape[1])), conv_input])
    taps = weight(f"{cca}.conv_qk_depthwise.weight")[:, 0]
    rows = sum(taps[:, j] * padded[j : j + len(q) + leads] for j in range(kernel)) + weight(f"{cca}.conv_qk_depthwise.bias")
    yield f"{cca}.conv_qk_depthwise", rows[leads:], tap(f"{cca}.conv_qk_depthwise")
    if leads:
        yield f"{cca}.conv_qk_depthwise:lead", rows[:leads], tap(f"{cca}.conv_qk_depthwise:lead").reshape(leads, -1)
    grouped = tap(f"{cca}.conv_qk_grouped").reshape(-1, nq + nk, d)
    yield f"{cca}:query", grouped[:, :nq] + mean, tap(f"{cca}:query")
    yield f"{cca}:key", grouped[:, nq:] + key_mean, tap(f"{cca}:key")
    delayed = tap(f"{cca}:value_delayed")
    yield f"{cca}:value_delayed", tap(f"{cca}.v_proj_delayed")[:-1], delayed[1:]
    value = np.concatenate([tap(f"{cca}.v_proj_current"), delayed], -1).reshape(-1, nk, d)
    yield f"{cca}:value", value, tap(f"{cca}:value")
    for name, scale in (("query", 1), ("key", weight(".self_attn.qk_norm.temp")[:, None])):
        raw = tap(f"{cca}:{name}")
        normed = raw * sqrt(d) / np.linalg.norm(raw, axis=-1, keepdims=True) * scale
        yield f".self_attn.qk_norm:{name}", normed, tap(f".self_attn.qk_norm:{name}")
        rope = tap(f".self_attn:{name}_rope")
        yield f".self_attn:{name}_rope (position 0)", normed[0], rope[0]
        yield f".self_attn:{name}_rope (norm)", np.linalg.norm(normed, axis=-1), np.linalg.norm(rope, axis=-1)
    weights = tap(".self_attn:attn_weights")
    scores = np.einsum("thd,shd->ths", tap(".self_attn:query_rope"), np.repeat(tap(".self_attn:key_rope"), group, axis=1)) / sqrt(d)
    scores[weights == 0] = -np.inf
    yield ".self_attn:attn_weights", softmax(scores), weights
    context = np.einsum("ths,shd->thd", weights, np.repeat(value, group, axis=1)).reshape(len(q), -1)
    yield ".self_attn:attn_output", context, tap(".self_attn:attn_output")


def router(tap, weight, config, state):
    gate, classes = ".mlp.gate", config["num_experts"] + 1
    carried = 0 if state is None else state * weight(f"{gate}.router_states_scale")
    yield f"{gate}:router_hidden_states", tap(f"{gate}.down_proj") + carried, tap(f"{gate}:router_hidden_states")
    for n in "12":
        yield f"{gate}.router_mlp:act{n}", gelu(tap(f"{gate}.router_mlp.fc{n}")), tap(f"{gate}.router_mlp:act{n}")
    probs = tap(f"{gate}:router_probs")
    yield f"{gate}:router_probs", softmax(tap(f"{gate}.router_mlp.out_proj")), probs
    biased = tap(f"{gate}:biased_router_probs")
    yield f"{gate}:biased_router_probs", probs + weight(f"{gate}.balancing_biases"), biased
    expert = tap(f"{gate}:expert").astype(int)
    yield f"{gate}:expert", biased.argmax(-1), expert
    skipped = expert == classes - 1
    chosen = np.where(skipped, 0, probs[np.arange(len(expert)), expert])
    yield f"{gate}:expert_weight", chosen, tap(f"{gate}:expert_weight")
    order = np.sort(biased, -1)
    yield f"{gate}:margin", order[:, -1] - order[:, -2], tap(f"{gate}:margin")
    up, down = weight(".mlp.experts.gate_up_proj"), weight(".mlp.experts.down_proj")
    x, real = tap(".post_attention_layernorm"), np.where(skipped, 0, expert)
    gate_up = np.where(skipped[:, None], 0, np.einsum("th,tfh->tf", x, up[real]))
    yield ".mlp.experts:gate_up", gate_up, tap(".mlp.experts:gate_up")
    half = gate_up.shape[1] // 2
    activated = silu(gate_up[:, :half]) * gate_up[:, half:]
    yield ".mlp.experts:activated", activated, tap(".mlp.experts:activated")
    yield ".mlp.experts:down", np.einsum("tf,thf->th", activated, down[real]), tap(".mlp.experts:down")
    yield ".mlp.experts", chosen[:, None] * tap(".mlp.experts:down"), tap(".mlp.experts")


def residuals(tap, weight):
    for module, branch in (("post_attention_residual_scale", ".self_attn.o_proj"), ("post_mlp_residual_scale", ".mlp.experts")):
        scaled = (tap(branch) + weight(f".{module}.hidden_states_bias")) * weight(f".{module}.hidden_states_scale")
        yield f".{module}:hidden_states", scaled, tap(f".{module}:hidden_states")
        total = tap(f".{module}:hidden_states") + tap(f".{module}:residual")
        yield f".{module} (sum)", total, tap(f".{module}" if "attention" in module else "")
    residual = (tap(".post_attention_residual_scale") + weight(".post_mlp_residual_scale.residual_bias")) * weight(
        ".post_mlp_residual_scale.residual_scale"
    )
    yield ".post_mlp_residual_scale:residual", residual, tap(".post_mlp_residual_scale:residual")


def main() -> None:
    dump, model = Path(sys.argv[1]), Path(sys.argv[2])
    reader = DumpReader(dump)
    errors = {}
    for name, expected, got in relations(reader, load_weights(model), reader.manifest["model"]["config"]):
        if expected.shape != got.shape:
            raise SystemExit(f"relations: expected {expected.shape}, got {got.shape} for {name}")
        scale = np.abs(got).max() if got.size else 0.0
        errors[name] = float(np.abs(expected - got).max() / scale) if scale > 0 else float(np.abs(expected).max(initial=0))
    print(json.dumps(errors, allow_nan=False))


if __name__ == "__main__":
    main()
