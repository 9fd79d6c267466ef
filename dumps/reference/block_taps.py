"""The taps of one decoder block, in the order in which the model computes them."""

from collections.abc import Callable

import torch

from observer import NotSeen, Observed
from taps import (
    F32,
    MODEL,
    Behind,
    Reader,
    Sizes,
    Tap,
    channels_first,
    either,
    flat,
    heads_first,
    local,
    make_tap,
    output,
    per_token,
    sequence,
    taken,
)


def block_taps(size: Sizes, block: int, cached: bool = False) -> list[Tap]:
    """Every tap of decoder block `block`; with `cached` its states after each call too."""
    root = f"layers.{block}"
    taps: list[Tap] = []

    def add(suffix: str, read: Reader, dtype: str = MODEL) -> None:
        taps.append(make_tap(size, suffix, block, read, dtype))

    # hidden_states: 1 the argument, 2 normalised, 3 attention's, 4 normalised, 5 the experts', 6 the block's; residual: 1 the argument
    def hidden(nth: int, module: Reader, following: str) -> Behind:
        return Behind(local(root, "hidden_states", nth, 6), module, taken(f"{root}.{following}"))

    add(".input_layernorm", hidden(2, output(f"{root}.input_layernorm"), "self_attn"))
    _attention(add, size, root, cached)
    add(".self_attn.o_proj", hidden(3, output(f"{root}.self_attn.o_proj"), "post_attention_residual_scale"))
    _residual(add, f"{root}", ".post_attention_residual_scale")
    scaled = f"{root}.post_attention_residual_scale"
    add(".post_attention_residual_scale", Behind(local(root, "residual", 2, 2), output(scaled)), F32)
    add(".post_attention_layernorm", hidden(4, output(f"{root}.post_attention_layernorm"), "mlp"))
    _router(add, root, block)
    _experts(add, root)
    add(".mlp.experts", hidden(5, output(f"{root}.mlp.experts", flat), "post_mlp_residual_scale"))
    _residual(add, root, ".post_mlp_residual_scale")
    # the model's hidden_states: 1 the embedding, 2 scaled and shifted, then one a block
    add("", Behind(local("", "hidden_states", block + 3, block + 3), output(root, item=0)), F32)
    return taps


def _attention(add, size: Sizes, root: str, cached: bool) -> None:
    attn = f"{root}.self_attn"
    cca = f"{attn}.qkv_proj"

    def projected(name: str, variable: str, call: int = 0) -> None:
        add(f".self_attn.qkv_proj.{name}", Behind(local(cca, variable), output(f"{cca}.{name}", call=call)))

    # query_states, key_states: 1 projected, 2 normalised, 3 transposed, 4 rotated; value_states: 1 projected, 2 transposed; with a cache
    # keys and values are then replaced by those of all positions
    def states(name: str, nth: int, module: Reader, layout=sequence) -> Behind:
        counts = {"query_states": (4, 4), "key_states": (4, 5), "value_states": (2, 3)}[name]
        return Behind(local(attn, name, nth, counts[0], layout, counts[1]), module)

    projected("q_proj", "projected_queries")
    projected("k_proj", "projected_keys")
    # query_residual: 1 the projection, 2 its mean with the key; key_residual: 1 the projection, 2 repeated, 3 the group mean
    add(".self_attn.qkv_proj:query_residual", local(cca, "query_residual", 2, 2))
    add(".self_attn.qkv_proj:key_residual", local(cca, "key_residual", 3, 3))
    # qk_states: 1 concatenated, 2 transposed, 3 with the incoming state in front, 4 depthwise, 5 grouped
    padded = either(local(cca, "qk_states", 3, 5, channels_first), taken(f"{cca}.conv_qk_depthwise", channels_first))
    add(".self_attn.qkv_proj:conv_input", _last_rows(padded))
    if cached and size.conv_state > 0:
        add(".self_attn.qkv_proj:conv_state", _state(root, "conv_states"))
    depthwise = Behind(
        local(cca, "qk_states", 4, 5, channels_first),
        output(f"{cca}.conv_qk_depthwise", channels_first),
        taken(f"{cca}.conv_qk_grouped", channels_first),
    )
    if size.conv_leads > 0:
        leads = size.conv_leads
        lead = _of_rows(depthwise, lambda x: x[:, :leads])
        add(".self_attn.qkv_proj.conv_qk_depthwise:lead", lead)
    add(".self_attn.qkv_proj.conv_qk_depthwise", _last_rows(depthwise))
    grouped = Behind(local(cca, "qk_states", 5, 5), output(f"{cca}.conv_qk_grouped", channels_first))
    add(".self_attn.qkv_proj.conv_qk_grouped", grouped)
    add(".self_attn.qkv_proj:query", states("query_states", 1, local(cca, "query")))
    add(".self_attn.qkv_proj:key", states("key_states", 1, local(cca, "key")))
    projected("v_proj_current", "value_current")
    # call 0 is on the tokens; at a sequence's start a second call makes the state of the token before the first
    projected("v_proj_delayed", "delayed_v_state")
    add(".self_attn.qkv_proj:value_delayed", local(cca, "value_delayed"))
    if cached:
        add(".self_attn.qkv_proj:delayed_state", _state(root, "recurrent_states"))
    add(".self_attn.qkv_proj:value", states("value_states", 1, local(cca, "value")))
    add(".self_attn.qk_norm:query", states("query_states", 2, output(f"{attn}.qk_norm", item=0)))
    add(".self_attn.qk_norm:key", states("key_states", 2, output(f"{attn}.qk_norm", item=1)))
    add(".self_attn:query_rope", local(attn, "query_states", 4, 4, heads_first))
    add(".self_attn:key_rope", local(attn, "key_states", 4, 4, heads_first, 5))
    if cached:
        add(".self_attn:k_cache", _cached(root, "keys"))
        add(".self_attn:v_cache", _cached(root, "values"))
    add(".self_attn:attn_weights", local(attn, "attn_weights", layout=heads_first))
    # attn_output: 1 per head, 2 heads joined, 3 projected
    add(".self_attn:attn_output", local(attn, "attn_output", 2, 3))


def _layer(seen: Observed, root: str):
    """What the cache keeps of a block."""
    return seen.cache.layers[int(root.removeprefix("layers."))]


def _state(root: str, name: str) -> Reader:
    """A recurrent state of a block after the call, [B, ...]."""
    return lambda seen: getattr(_layer(seen, root), name)[0]


def _cached(root: str, name: str) -> Reader:
    """Keys or values of a block after the call, [B, S, nk, d]."""
    return lambda seen: getattr(_layer(seen, root), name).transpose(1, 2)


def _residual(add, root: str, module: str) -> None:
    # hidden_states, residual: 1 the argument, 2 scaled; the residual branch stays F32
    add(f"{module}:hidden_states", local(root + module, "hidden_states", 2, 2))
    add(f"{module}:residual", local(root + module, "residual", 2, 2), F32)


def _router(add, root: str, block: int) -> None:
    gate = f"{root}.mlp.gate"
    mlp = f"{gate}.router_mlp"
    # router_hidden_states: 1 the down projection, 2 with the state of the block before, which block 0 does not have
    down = local(gate, "router_hidden_states", 1, 1 if block == 0 else 2)
    add(".mlp.gate.down_proj", Behind(down, output(f"{gate}.down_proj")))
    add(".mlp.gate:router_hidden_states", local(gate, "router_hidden_states", -1, None))
    # hidden_states: 1 the argument, 2 normalised, 3 after the first GELU, 4 after the second
    add(".mlp.gate.router_mlp.norm", Behind(local(mlp, "hidden_states", 2, 4), output(f"{mlp}.norm"), taken(f"{mlp}.fc1")))
    for layer, nth in (("1", 3), ("2", 4)):
        linear = output(f"{mlp}.fc{layer}")
        add(f".mlp.gate.router_mlp.fc{layer}", Behind(linear, linear, taken(f"{mlp}.act_fn", call=nth - 3, of=2)))
        add(f".mlp.gate.router_mlp:act{layer}", local(mlp, "hidden_states", nth, 4))
    add(".mlp.gate.router_mlp.out_proj", Behind(local(gate, "router_logits"), output(f"{mlp}.out_proj")))
    # router_probs: 1 the soft-max over all classes, 2 gathered, 3 zeroed for the skip class
    add(".mlp.gate:router_probs", local(gate, "router_probs", 1, 3))
    add(".mlp.gate:biased_router_probs", local(gate, "biased_router_probs"), F32)
    # router_indices: 1 the choice, 2 with the skip class replaced by 0
    add(".mlp.gate:expert", lambda seen: _chosen(seen, gate).to(torch.int32))
    add(".mlp.gate:expert_weight", local(gate, "router_probs", 3, 3, per_token))
    add(".mlp.gate:margin", lambda seen: _margin(seen, gate), F32)


def _experts(add, root: str) -> None:
    experts = f"{root}.mlp.experts"
    gate = f"{root}.mlp.gate"

    def gathered(values) -> Reader:
        return lambda seen: _in_token_order(seen, experts, gate, values(seen))

    # current_hidden_states: for every expert 1 activated, 2 projected down, 3 weighted
    add(".mlp.experts:gate_up", gathered(lambda seen: _gate_up(seen, experts)))
    add(".mlp.experts:activated", gathered(lambda seen: _third(seen, experts, 0)))
    add(".mlp.experts:down", gathered(lambda seen: _third(seen, experts, 1)))


def _third(seen: Observed, experts: str, first: int) -> list[torch.Tensor]:
    """Of the three values that `current_hidden_states` takes for each expert the one numbered `first`."""
    count = 3 * len(seen.values(experts, "token_idx"))
    if count > 0:
        seen.value(experts, "current_hidden_states", 1, count)
    return seen.values(experts, "current_hidden_states")[first::3]


def _chosen(seen: Observed, gate: str) -> torch.Tensor:
    """The router's choice per token [B, T], the skip class kept as E."""
    return per_token(seen.value(gate, "router_indices", 1, 2), seen)


def _margin(seen: Observed, gate: str) -> torch.Tensor:
    """Best minus second-best biased probability per token [B, T]; the reference has no name for it."""
    best, second = seen.value(gate, "biased_router_probs", 1, 1).topk(2, dim=-1).values.unbind(-1)
    return best - second


def _gate_up(seen: Observed, experts: str) -> list[torch.Tensor]:
    """The fused projection of every expert that ran: the model splits it into `gate` and `up` at once."""
    pairs = zip(seen.values(experts, "gate"), seen.values(experts, "up"), strict=True)
    return [torch.cat(pair, dim=-1) for pair in pairs]


def _in_token_order(seen: Observed, experts: str, gate: str, values: list[torch.Tensor]) -> torch.Tensor:
    """Rows [B, T, ...] of the loop over experts, scattered to their tokens.

    The reference sends skipped tokens through expert 0 with weight 0. No expert was chosen for them, so their rows are 0 here.
    """
    if not values:
        raise NotSeen(f"observe: expected module {experts} to run its experts, it did not")
    chosen = _chosen(seen, gate).reshape(-1)
    rows = torch.zeros(len(chosen), values[0].shape[-1], dtype=values[0].dtype)
    for token_idx, value in zip(seen.values(experts, "token_idx"), values, strict=True):
        rows[token_idx] = value
    classes = seen.value(gate, "biased_router_probs", 1, 1).shape[-1]
    rows[chosen == classes - 1] = 0
    return flat(rows, seen)


def _of_rows(read: Behind, part: Callable[[torch.Tensor], torch.Tensor]) -> Behind:
    return Behind(*(None if each is None else lambda seen, each=each: part(each(seen)) for each in (read.caller, read.module, read.next)))


def _last_rows(read: Reader) -> Reader:
    """Drops the rows in front of the first token: as many rows remain as there are tokens."""
    if isinstance(read, Behind):
        return Behind(_last_rows(read.caller), _last_rows(read.module), read.next and _last_rows(read.next))
    return lambda seen: read(seen)[:, -seen.tokens :]
