"""The taps of one decoder block, in the order in which the model computes them."""

import torch

from observer import Observed
from taps import F32, I32, MODEL, Reader, Sizes, Tap, channels_first, flat, heads_first, local, make_tap, output, per_token


def block_taps(size: Sizes, block: int) -> list[Tap]:
    """Every tap of decoder block `block`."""
    root = f"layers.{block}"
    taps: list[Tap] = []

    def add(suffix: str, axes: str, read: Reader, dtype: str = MODEL, scope: str = "token") -> None:
        taps.append(make_tap(size, root + suffix, block, axes, read, dtype, scope))

    add(".input_layernorm", "T,H", output(f"{root}.input_layernorm"))
    _attention(add, size, root)
    _residual(add, f"{root}", ".post_attention_residual_scale")
    add(".post_attention_residual_scale", "T,H", output(f"{root}.post_attention_residual_scale"), F32)
    add(".post_attention_layernorm", "T,H", output(f"{root}.post_attention_layernorm"))
    _router(add, root)
    _experts(add, root)
    _residual(add, root, ".post_mlp_residual_scale")
    add("", "T,H", output(root, item=0), F32)
    return taps


def _attention(add, size: Sizes, root: str) -> None:
    attn = f"{root}.self_attn"
    cca = f"{attn}.qkv_proj"
    for name, axes in (("q_proj", "T,nq*d"), ("k_proj", "T,nk*d")):
        add(f".self_attn.qkv_proj.{name}", axes, output(f"{cca}.{name}"))
    # query_residual: 1 the projection, 2 its mean with the key; key_residual: 1 the projection, 2 repeated, 3 the group mean
    add(".self_attn.qkv_proj:query_residual", "T,nq,d", local(cca, "query_residual", 2, 2))
    add(".self_attn.qkv_proj:key_residual", "T,nk,d", local(cca, "key_residual", 3, 3))
    # qk_states: 1 concatenated, 2 transposed, 3 with the incoming state in front, 4 depthwise, 5 grouped
    add(".self_attn.qkv_proj:conv_input", "T,C", _last_rows(local(cca, "qk_states", 3, 5, channels_first), cca))
    depthwise = output(f"{cca}.conv_qk_depthwise", channels_first)
    if size.conv_leads > 0:
        leads = size.conv_leads
        add(".self_attn.qkv_proj.conv_qk_depthwise:lead", "leads,C", lambda seen: depthwise(seen)[:leads], scope="step")
    add(".self_attn.qkv_proj.conv_qk_depthwise", "T,C", _last_rows(depthwise, cca))
    add(".self_attn.qkv_proj.conv_qk_grouped", "T,C", output(f"{cca}.conv_qk_grouped", channels_first))
    add(".self_attn.qkv_proj:query", "T,nq,d", local(cca, "query"))
    add(".self_attn.qkv_proj:key", "T,nk,d", local(cca, "key"))
    add(".self_attn.qkv_proj.v_proj_current", "T,nk*d/2", output(f"{cca}.v_proj_current"))
    # call 0 is on the tokens; at a sequence's start a second call makes the state of the token before the first
    add(".self_attn.qkv_proj.v_proj_delayed", "T,nk*d/2", output(f"{cca}.v_proj_delayed", call=0))
    add(".self_attn.qkv_proj:value_delayed", "T,nk*d/2", local(cca, "value_delayed"))
    add(".self_attn.qkv_proj:value", "T,nk,d", local(cca, "value"))
    add(".self_attn.qk_norm:query", "T,nq,d", output(f"{attn}.qk_norm", item=0))
    add(".self_attn.qk_norm:key", "T,nk,d", output(f"{attn}.qk_norm", item=1))
    # query_states, key_states: 1 projected, 2 normalised, 3 transposed, 4 rotated
    add(".self_attn:query_rope", "T,nq,d", local(attn, "query_states", 4, 4, heads_first))
    add(".self_attn:key_rope", "T,nk,d", local(attn, "key_states", 4, 4, heads_first))
    add(".self_attn:attn_weights", "T,nq,S", local(attn, "attn_weights", layout=heads_first))
    # attn_output: 1 per head, 2 heads joined, 3 projected
    add(".self_attn:attn_output", "T,nq*d", local(attn, "attn_output", 2, 3))
    add(".self_attn.o_proj", "T,H", output(f"{attn}.o_proj"))


def _residual(add, root: str, module: str) -> None:
    # hidden_states, residual: 1 the argument, 2 scaled; the residual branch stays F32
    add(f"{module}:hidden_states", "T,H", local(root + module, "hidden_states", 2, 2))
    add(f"{module}:residual", "T,H", local(root + module, "residual", 2, 2), F32)


def _router(add, root: str) -> None:
    gate = f"{root}.mlp.gate"
    mlp = f"{gate}.router_mlp"
    add(".mlp.gate.down_proj", "T,R", output(f"{gate}.down_proj"))
    # the last value: block 0 adds nothing to the down projection
    add(".mlp.gate:router_hidden_states", "T,R", local(gate, "router_hidden_states", -1, None))
    add(".mlp.gate.router_mlp.norm", "T,R", output(f"{mlp}.norm"))
    # hidden_states: 1 the argument, 2 normalised, 3 after the first GELU, 4 after the second
    for layer, nth in (("1", 3), ("2", 4)):
        add(f".mlp.gate.router_mlp.fc{layer}", "T,R", output(f"{mlp}.fc{layer}"))
        add(f".mlp.gate.router_mlp:act{layer}", "T,R", local(mlp, "hidden_states", nth, 4))
    add(".mlp.gate.router_mlp.out_proj", "T,E+1", output(f"{mlp}.out_proj"))
    # router_probs: 1 the soft-max over all classes, 2 gathered, 3 zeroed for the skip class
    add(".mlp.gate:router_probs", "T,E+1", local(gate, "router_probs", 1, 3))
    add(".mlp.gate:biased_router_probs", "T,E+1", local(gate, "biased_router_probs"), F32)
    # router_indices: 1 the choice, 2 with the skip class replaced by 0
    add(".mlp.gate:expert", "T", lambda seen: _chosen(seen, gate).to(torch.int32), I32)
    add(".mlp.gate:expert_weight", "T", local(gate, "router_probs", 3, 3, per_token))
    add(".mlp.gate:margin", "T", lambda seen: _margin(seen, gate), F32)


def _experts(add, root: str) -> None:
    experts = f"{root}.mlp.experts"
    gate = f"{root}.mlp.gate"

    def gathered(values) -> Reader:
        return lambda seen: _in_token_order(seen, experts, gate, values(seen))

    # current_hidden_states: for every expert 1 activated, 2 projected down, 3 weighted
    add(".mlp.experts:gate_up", "T,2F", gathered(lambda seen: _gate_up(seen, experts)))
    add(".mlp.experts:activated", "T,F", gathered(lambda seen: seen.values(experts, "current_hidden_states")[0::3]))
    add(".mlp.experts:down", "T,H", gathered(lambda seen: seen.values(experts, "current_hidden_states")[1::3]))
    add(".mlp.experts", "T,H", output(experts, flat))


def _chosen(seen: Observed, gate: str) -> torch.Tensor:
    """The router's choice per token [T], the skip class kept as E."""
    return per_token(seen.value(gate, "router_indices", 1, 2))


def _margin(seen: Observed, gate: str) -> torch.Tensor:
    """Best minus second-best biased probability per token [T]; the reference has no name for it."""
    best, second = seen.value(gate, "biased_router_probs", 1, 1)[0].topk(2, dim=-1).values.unbind(-1)
    return best - second


def _gate_up(seen: Observed, experts: str) -> list[torch.Tensor]:
    """The fused projection of every expert that ran: the model splits it into `gate` and `up` at once."""
    pairs = zip(seen.values(experts, "gate"), seen.values(experts, "up"), strict=True)
    return [torch.cat(pair, dim=-1) for pair in pairs]


def _in_token_order(seen: Observed, experts: str, gate: str, values: list[torch.Tensor]) -> torch.Tensor:
    """Rows of the loop over experts, scattered to their tokens.

    The reference sends skipped tokens through expert 0 with weight 0. No expert was chosen for them, so their rows are 0 here.
    """
    chosen = _chosen(seen, gate)
    rows = torch.zeros(len(chosen), values[0].shape[-1], dtype=values[0].dtype)
    for token_idx, value in zip(seen.values(experts, "token_idx"), values, strict=True):
        rows[token_idx] = value
    classes = seen.value(gate, "biased_router_probs", 1, 1).shape[-1]
    rows[chosen == classes - 1] = 0
    return rows


def _last_rows(read: Reader, cca: str) -> Reader:
    """Drops the rows in front of the first token: as many rows remain as there are tokens."""
    return lambda seen: read(seen)[-seen.outputs(f"{cca}.q_proj")[0].shape[1] :]
