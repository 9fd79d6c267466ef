"""The taps of Qwen3 and Qwen3-MoE: where each value stands in the unmodified transformers models."""

from dataclasses import dataclass

import torch

from observer import WITH_HEAD, NotSeen, Observed
from taps import F32, MODEL, Behind, DecoderSizes, Reader, Tap, flat, heads_first, local, make_tap, output, taken

# Variables read inside `forward`, by the module's path from its decoder block ("" is the block itself).
LOCALS: dict[str, tuple[str, ...]] = {
    "": ("hidden_states", "residual"),
    "self_attn": ("query_states", "key_states", "attn_weights", "attn_output"),
    "mlp.gate": ("router_logits", "router_probs", "router_scores", "router_indices"),
    "mlp.experts": ("token_idx", "top_k_pos", "gate", "up", "current_hidden_states"),
}
MODEL_LOCALS = ("inputs_embeds", "hidden_states")


@dataclass(frozen=True)
class Sizes(DecoderSizes):
    """Those of Qwen3; the sizes of experts are 0 in a dense model."""

    family = "qwen3"

    I: int
    E: int
    k: int
    F: int
    dense: frozenset[int]

    @classmethod
    def of(cls, config) -> "Sizes":
        experts = getattr(config, "num_experts", 0) or 0
        step = getattr(config, "decoder_sparse_step", 1)
        only = getattr(config, "mlp_only_layers", None) or []
        dense = [n for n in range(config.num_hidden_layers) if experts == 0 or n in only or (n + 1) % step != 0]
        return cls(
            **cls.fields_of(config),
            I=config.intermediate_size,
            E=experts,
            k=config.num_experts_per_tok if experts else 0,
            F=config.moe_intermediate_size if experts else 0,
            dense=frozenset(dense),
        )


def model_taps(size: Sizes) -> tuple[list[Tap], list[Tap]]:
    """The taps of no block: those before and those after the decoder blocks."""
    # the model's hidden_states: 1 the embedding, then one value a block, and the final norm's
    values = size.blocks + 2
    before = [make_tap(size, "embed_tokens", None, Behind(local("", "inputs_embeds"), output("embed_tokens")))]
    after = [
        make_tap(size, "norm", None, Behind(local("", "hidden_states", values, values), output("norm"), taken("lm_head"))),
        make_tap(size, "lm_head", None, Behind(local(WITH_HEAD, "logits", -1, None), output("lm_head"))),
    ]
    return before, after


def block_taps(size: Sizes, block: int, cached: bool = False) -> list[Tap]:
    """Every tap of decoder block `block`; with `cached` its states after each call too."""
    root = f"layers.{block}"
    attn = f"{root}.self_attn"
    taps: list[Tap] = []

    def add(suffix: str, read: Reader, dtype: str = MODEL) -> None:
        taps.append(make_tap(size, suffix, block, read, dtype))

    def hidden(nth: int, module: Reader, following: str | None = None) -> Behind:
        return Behind(local(root, "hidden_states", nth, 7), module, following and taken(f"{root}.{following}"))

    # hidden_states: 1 the argument, 2 normalised, 3 attention's, 4 added, 5 normalised, 6 the MLP's, 7 the block's; residual: 1, 2
    add(".input_layernorm", hidden(2, output(f"{root}.input_layernorm"), "self_attn"))
    add(".self_attn.q_proj", output(f"{attn}.q_proj"))
    # query_states, key_states: 1 normalised, 2 rotated; with a cache keys are then replaced by those of all positions
    add(".self_attn.q_norm", Behind(local(attn, "query_states", 1, 2, heads_first), output(f"{attn}.q_norm")))
    add(".self_attn.k_proj", output(f"{attn}.k_proj"))
    add(".self_attn.k_norm", Behind(local(attn, "key_states", 1, 2, heads_first, 3), output(f"{attn}.k_norm")))
    add(".self_attn.v_proj", output(f"{attn}.v_proj"))
    add(".self_attn:query_rope", local(attn, "query_states", 2, 2, heads_first))
    add(".self_attn:key_rope", local(attn, "key_states", 2, 2, heads_first, 3))
    if cached:
        add(".self_attn:k_cache", _cached(block, "keys"))
        add(".self_attn:v_cache", _cached(block, "values"))
    add(".self_attn:attn_weights", local(attn, "attn_weights", layout=heads_first))
    # attn_output: 1 per head, 2 heads joined, 3 projected
    add(".self_attn:attn_output", local(attn, "attn_output", 2, 3))
    add(".self_attn.o_proj", hidden(3, output(f"{attn}.o_proj")))
    add(":residual", local(root, "residual", 2, 2))
    add(".post_attention_layernorm", hidden(5, output(f"{root}.post_attention_layernorm"), "mlp"))
    if block in size.dense:
        _mlp(add, root, hidden)
    else:
        _experts(add, size, root, hidden)
    add("", Behind(local("", "hidden_states", block + 2, size.blocks + 2), output(root)))
    return taps


def _cached(block: int, name: str) -> Reader:
    """Keys or values of a block after the call, [B, S, nk, d]."""
    return lambda seen: getattr(seen.cache.layers[block], name).transpose(1, 2)


def _mlp(add, root: str, hidden) -> None:
    mlp = f"{root}.mlp"
    gate, up = output(f"{mlp}.act_fn"), output(f"{mlp}.up_proj")
    add(".mlp.gate_proj", output(f"{mlp}.gate_proj"))
    add(".mlp.up_proj", up)
    # the model multiplies them within one expression
    add(".mlp:activated", lambda seen: gate(seen) * up(seen))
    add(".mlp.down_proj", hidden(6, output(f"{mlp}.down_proj")))


def _experts(add, size: Sizes, root: str, hidden) -> None:
    gate, experts = f"{root}.mlp.gate", f"{root}.mlp.experts"
    add(".mlp.gate", local(gate, "router_logits", layout=flat))
    add(".mlp.gate:router_probs", local(gate, "router_probs", layout=flat), F32)
    add(".mlp.gate:expert", lambda seen: flat(seen.value(gate, "router_indices", 1, 1), seen).to(torch.int32))
    add(".mlp.gate:expert_weight", local(gate, "router_scores", layout=flat))
    if size.k < size.E:
        add(".mlp.gate:margin", lambda seen: _margin(seen, gate, size.k), F32)
    scattered = lambda values: lambda seen: _in_token_order(seen, experts, size.k, values(seen))
    add(".mlp.experts:gate", scattered(lambda seen: seen.values(experts, "gate")))
    add(".mlp.experts:up", scattered(lambda seen: seen.values(experts, "up")))
    # current_hidden_states: for each expert 1 gated, 2 projected down, 3 weighted
    add(".mlp.experts:activated", scattered(lambda seen: _third(seen, experts, 0)))
    add(".mlp.experts:down", scattered(lambda seen: _third(seen, experts, 1)))
    add(".mlp.experts", hidden(6, output(experts, flat)))


def _margin(seen: Observed, gate: str, k: int) -> torch.Tensor:
    """Lead of the last expert taken over the next per token [B, T]; the reference has no name for it."""
    best = flat(seen.value(gate, "router_probs", 1, 1), seen).topk(k + 1, dim=-1).values
    return best[..., k - 1] - best[..., k]


def _third(seen: Observed, experts: str, first: int) -> list[torch.Tensor]:
    count = 3 * len(seen.values(experts, "token_idx"))
    if count > 0:
        seen.value(experts, "current_hidden_states", 1, count)
    return seen.values(experts, "current_hidden_states")[first::3]


def _in_token_order(seen: Observed, experts: str, k: int, values: list[torch.Tensor]) -> torch.Tensor:
    """Rows [B, T, k, ...] of the loop over experts, scattered to their tokens and places among the token's experts."""
    if not values:
        raise NotSeen(f"observe: expected module {experts} to run its experts, it did not")
    rows = torch.zeros(seen.batch * seen.tokens, k, values[0].shape[-1], dtype=values[0].dtype)
    places = zip(seen.values(experts, "token_idx"), seen.values(experts, "top_k_pos"), values, strict=True)
    for token_idx, top_k_pos, value in places:
        rows[token_idx, top_k_pos] = value
    return flat(rows, seen)


def stored_targets(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The model's tensors as a checkpoint names them: transformers stores each expert's matrices apart."""
    targets: dict[str, torch.Tensor] = {}
    for name, value in state.items():
        path, _, leaf = name.rpartition(".")
        if leaf == "gate_up_proj":
            half = value.shape[1] // 2
            for expert in range(value.shape[0]):
                targets[f"{path}.{expert}.gate_proj.weight"] = value[expert, :half]
                targets[f"{path}.{expert}.up_proj.weight"] = value[expert, half:]
        elif leaf == "down_proj":
            targets |= {f"{path}.{expert}.down_proj.weight": value[expert] for expert in range(value.shape[0])}
        else:
            targets[name] = value
    return targets
