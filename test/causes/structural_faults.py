"""Wrong models whose fault is one of structure, and the cause that `locate` is to name.

Those of test/faults that are of this kind are taken from there; the others are made here, in the same way.
"""

import sys
from pathlib import Path

import gguf
import numpy as np
import torch
from gguf.quants import dequantize, quantize
from torch import nn
from transformers.models.zaya import modeling_zaya as zaya

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "faults"))

from alteration import Fault, change, edit, output_of  # noqa: E402
from planted import FAULTS  # noqa: E402

ATTENTION = "layers.0.self_attn"
EXPERTS = "layers.0.mlp.experts"
EAGER = zaya.eager_attention_forward


def _blocks(apply):
    return change(lambda model: [apply(block) for block in model.model.layers])


def _block(number, apply):
    return change(lambda model: apply(model.model.layers[number]))


def _rounded(weight: torch.Tensor, kind: str) -> None:
    """Rounds a weight to a GGUF type, by the gguf package."""
    of = getattr(gguf.GGMLQuantizationType, kind)
    weight.copy_(torch.from_numpy(np.ascontiguousarray(dequantize(quantize(weight.float().numpy(), of), of))).reshape(weight.shape))


def _own(block) -> dict:
    return {name: value for name, value in block.state_dict().items() if "router_states_scale" not in name}


def _rows_as_pairs(linear: nn.Linear, heads: int) -> None:
    """The two halves of each head alternate, as the conversions of llama store queries and keys."""
    rows = linear.weight.unflatten(0, (heads, 2, -1)).transpose(1, 2).flatten(0, 2)
    linear.weight.copy_(rows.clone())


NEW = [
    Fault(
        "output-transposed",
        "The output projection of attention is transposed.",
        f"{ATTENTION}.o_proj",
        _blocks(lambda block: block.self_attn.o_proj.weight.copy_(block.self_attn.o_proj.weight.T.clone())),
    ),
    Fault(
        "router-layer-transposed",
        "The router's first layer is transposed in block 3.",
        "layers.3.mlp.gate.router_mlp.fc1",
        _block(3, lambda block: block.mlp.gate.router_mlp.fc1.weight.copy_(block.mlp.gate.router_mlp.fc1.weight.T.clone())),
    ),
    Fault(
        "expert-plus-one",
        "Tokens run through gate and up of the expert after their own.",
        f"{EXPERTS}:gate_up",
        edit(zaya.ZayaExperts.forward, "self.gate_up_proj[expert_idx]", "self.gate_up_proj[(expert_idx + 1) % self.num_experts]"),
    ),
    Fault(
        "down-expert-minus-one",
        "Tokens run through the down projection of the expert before their own.",
        f"{EXPERTS}:down",
        edit(zaya.ZayaExperts.forward, "self.down_proj[expert_idx]", "self.down_proj[expert_idx - 1]"),
    ),
    Fault(
        "other-key-head",
        "Queries meet the keys of the other KV head.",
        f"{ATTENTION}:attn_weights",
        edit(EAGER, "repeat_kv(key, module", "repeat_kv(key.flip(1), module"),
    ),
    Fault(
        "key-heads-interleaved",
        "Query head h meets the keys of KV head h mod 2.",
        f"{ATTENTION}:attn_weights",
        edit(EAGER, "repeat_kv(key, module.num_key_value_groups)", "key.repeat(1, module.num_key_value_groups, 1, 1)"),
    ),
    Fault(
        "router-bias-twice",
        "The bias of the router's second layer is added twice.",
        "layers.0.mlp.gate.router_mlp.fc2",
        _blocks(lambda block: block.mlp.gate.router_mlp.fc2.bias.mul_(2)),
    ),
    Fault(
        "residual-left-out",
        "The residual is not added.",
        "layers.0.post_attention_residual_scale",
        edit(zaya.ZayaResidualScaling.forward, "return hidden_states + residual", "return hidden_states"),
    ),
    Fault(
        "residual-twice",
        "The residual is added twice.",
        "layers.0.post_attention_residual_scale",
        edit(zaya.ZayaResidualScaling.forward, "return hidden_states + residual", "return hidden_states + residual + residual"),
    ),
    Fault(
        "experts-gelu",
        "The experts' activation is GELU instead of SiLU.",
        f"{EXPERTS}:activated",
        edit(zaya.ZayaExperts.forward, "self.act_fn(gate)", "nn.functional.gelu(gate)"),
    ),
    Fault(
        "router-relu",
        "The router's activation is ReLU.",
        "layers.0.mlp.gate.router_mlp:act1",
        _blocks(lambda block: setattr(block.mlp.gate.router_mlp, "act_fn", nn.ReLU())),
    ),
    Fault(
        "block-repeated",
        "Block 2 has the weights of block 1.",
        "layers.2.input_layernorm",
        change(lambda model: model.model.layers[2].load_state_dict(_own(model.model.layers[1]), strict=False)),
    ),
    Fault(
        "blocks-moved",
        "Every block but the first two has the weights of the block before it.",
        "layers.2.input_layernorm",
        change(lambda model: [model.model.layers[k].load_state_dict(_own(model.model.layers[k - 1]), strict=False) for k in range(7, 1, -1)]),
    ),
    Fault(
        "output-in-q8_0",
        "The output projection of attention is rounded to Q8_0.",
        f"{ATTENTION}.o_proj",
        _blocks(lambda block: _rounded(block.self_attn.o_proj.weight, "Q8_0")),
    ),
    Fault(
        "down-in-q4_0",
        "The experts' down projection is rounded to Q4_0 in block 5.",
        "layers.5.mlp.experts:down",
        _block(5, lambda block: _rounded(block.mlp.experts.down_proj, "Q4_0")),
    ),
    Fault(
        "keys-before-queries",
        "Keys are joined before queries.",
        f"{ATTENTION}.qkv_proj:conv_input",
        edit(zaya.ZayaCCAProjection.forward, "torch.cat([projected_queries, projected_keys]", "torch.cat([projected_keys, projected_queries]"),
    ),
    Fault(
        "position-plus-one",
        "Positions are one too large.",
        f"{ATTENTION}:query_rope",
        edit(zaya.ZayaRotaryEmbedding.forward, "position_ids[:, None, :].float()", "(position_ids + 1)[:, None, :].float()"),
    ),
    Fault(
        "mask-without-itself",
        "No token but the first sees itself.",
        f"{ATTENTION}:attn_weights",
        edit(
            EAGER,
            "attn_weights + attention_mask",
            "attn_weights + torch.cat([attention_mask[..., :1, :], attention_mask[..., :-1, :]], dim=-2)",
        ),
    ),
    Fault(
        "mask-missing",
        "Every token sees all others.",
        f"{ATTENTION}:attn_weights",
        edit(EAGER, "attn_weights + attention_mask", "attn_weights"),
    ),
    Fault(
        "norm-centred",
        "Every norm subtracts the mean first.",
        "layers.0.input_layernorm",
        edit(
            zaya.ZayaRMSNorm.forward,
            "variance = hidden_states.pow(2)",
            "hidden_states = hidden_states - hidden_states.mean(-1, keepdim=True)\n    variance = hidden_states.pow(2)",
        ),
    ),
    Fault(
        "logits-halved",
        "The logits are halved.",
        "lm_head",
        change(lambda model: output_of(model.lm_head, lambda logits: logits * 0.5)),
    ),
    Fault(
        "output-columns-by-channel",
        "The output projection expects its input channel by channel.",
        f"{ATTENTION}.o_proj",
        _blocks(
            lambda block: block.self_attn.o_proj.weight.copy_(
                block.self_attn.o_proj.weight.unflatten(1, (8, 16)).transpose(1, 2).flatten(1).clone()
            )
        ),
    ),
    Fault(
        "query-rows-as-pairs",
        "The rows of the query projection are stored for the rotation of neighbouring channels.",
        f"{ATTENTION}.qkv_proj.q_proj",
        _blocks(lambda block: _rows_as_pairs(block.self_attn.qkv_proj.q_proj, 8)),
    ),
    Fault(
        "router-layers-exchanged",
        "The router's first layer has the weights of its second.",
        "layers.0.mlp.gate.router_mlp.fc1",
        _blocks(lambda block: block.mlp.gate.router_mlp.fc1.load_state_dict(block.mlp.gate.router_mlp.fc2.state_dict())),
    ),
    Fault(
        "output-of-the-token-before",
        "The output projection reads the token before.",
        f"{ATTENTION}.o_proj",
        _blocks(lambda block: block.self_attn.o_proj.register_forward_pre_hook(lambda _module, args: (args[0].roll(1, 1),))),
    ),
    Fault(
        "soft-max-after-choice",
        "The soft-max is taken over the chosen expert alone, so that its weight is 1.",
        "layers.0.mlp.gate:expert_weight",
        edit(
            zaya.ZayaRouter.forward,
            "torch.gather(router_probs, dim=2, index=router_indices)",
            "torch.ones_like(router_indices, dtype=router_probs.dtype)",
        ),
    ),
    Fault(
        "rotated-backwards",
        "Positions rotate backwards.",
        f"{ATTENTION}:query_rope",
        edit(zaya.apply_rotary_pos_emb, "sin = sin.unsqueeze(unsqueeze_dim)", "sin = -sin.unsqueeze(unsqueeze_dim)"),
    ),
    Fault(
        "values-of-the-next-block",
        "Blocks 0 to 6 have the value projection of the block after them.",
        f"{ATTENTION}.qkv_proj.v_proj_current",
        change(lambda model: _values_of_the_next(model.model.layers)),
    ),
    Fault(
        "weight-rows-exchanged",
        "Rows 3 and 90 of the output projection are exchanged in block 2.",
        "layers.2.self_attn.o_proj",
        _block(2, lambda block: _exchange(block.self_attn.o_proj.weight, 3, 90)),
    ),
    Fault(
        "weight-rows-moved",
        "The rows of the output projection are moved on by one in block 4.",
        "layers.4.self_attn.o_proj",
        _block(4, lambda block: block.self_attn.o_proj.weight.copy_(block.self_attn.o_proj.weight.roll(1, 0))),
    ),
    Fault(
        "router-rows-exchanged",
        "Rows 2 and 7 of the router's first layer are exchanged, and its bias is not.",
        "layers.0.mlp.gate.router_mlp.fc1",
        _blocks(lambda block: _exchange(block.mlp.gate.router_mlp.fc1.weight, 2, 7)),
    ),
    Fault(
        "tokens-exchanged",
        "Tokens 5 and 9 of the output of attention are exchanged in block 3.",
        "layers.3.self_attn.o_proj",
        _block(3, lambda block: output_of(block.self_attn.o_proj, lambda value: value[:, _exchanged_order(value.shape[1], 5, 9)])),
    ),
    Fault(
        "token-repeated",
        "Token 7 of the output of attention has the value of token 6.",
        "layers.3.self_attn.o_proj",
        _block(3, lambda block: output_of(block.self_attn.o_proj, lambda value: value[:, [k - (k == 7) for k in range(value.shape[1])]])),
    ),
    Fault(
        "tokens-left-out",
        "The output of attention is 0 from token 20 on.",
        "layers.3.self_attn.o_proj",
        _block(3, lambda block: output_of(block.self_attn.o_proj, lambda value: value * (torch.arange(value.shape[1]) < 20)[:, None])),
    ),
    Fault(
        "query-heads-exchanged",
        "Query heads 2 and 5 are exchanged in the query projection.",
        f"{ATTENTION}.qkv_proj.q_proj",
        _blocks(lambda block: _exchange(block.self_attn.qkv_proj.q_proj.weight.unflatten(0, (8, -1)), 2, 5)),
    ),
    Fault(
        "experts-exchanged",
        "Experts 1 and 4 have each other's weights in block 1.",
        "layers.1.mlp.experts:gate_up",
        _block(1, lambda block: [_exchange(weight, 1, 4) for weight in (block.mlp.experts.gate_up_proj, block.mlp.experts.down_proj)]),
    ),
]


def _exchanged_order(count: int, a: int, b: int) -> list[int]:
    return [b if k == a else a if k == b else k for k in range(count)]


def _exchange(weight: torch.Tensor, a: int, b: int) -> None:
    """Two entries of the first axis."""
    weight[[a, b]] = weight[[b, a]].clone()


def _values_of_the_next(blocks) -> None:
    for own, after in zip(blocks, list(blocks)[1:]):
        own.self_attn.qkv_proj.v_proj_current.weight.copy_(after.self_attn.qkv_proj.v_proj_current.weight)


# By name of the fault: the key of its cause.
CAUSES = {
    "output-transposed": "transposed self_attn.o_proj.weight",
    "router-layer-transposed": "transposed mlp.gate.router_mlp.fc1.weight",
    "expert-plus-one": "expert 1",
    "down-expert-minus-one": "expert -1",
    "other-key-head": "head 1 the rotary embedding of the keys",
    "key-heads-interleaved": "grouping",
    "router-bias-twice": "twice mlp.gate.router_mlp.fc2.bias",
    "residual-left-out": "value-left-out .post_attention_residual_scale:residual",
    "residual-twice": "value-twice .post_attention_residual_scale:residual",
    "experts-gelu": "form activation geluErf",
    "router-relu": "form activation relu",
    "block-repeated": "block -1",
    "blocks-moved": "block -1",
    "output-in-q8_0": "rounded Q8_0 self_attn.o_proj.weight",
    "down-in-q4_0": "rounded Q4_0 mlp.experts.down_proj",
    "keys-before-queries": "joined in the other order",
    "position-plus-one": "position 1",
    "mask-without-itself": "mask not itself",
    "mask-missing": "mask none",
    "norm-centred": "form centred",
    "logits-halved": "times 0.5",
    "output-columns-by-channel": "by-head .self_attn:attn_output",
    "query-rows-as-pairs": "pairs out",
    "router-layers-exchanged": "module fc1 fc2",
    "output-of-the-token-before": "neighbour 1 .self_attn:attn_output",
    "rotated-backwards": "backwards",
    "soft-max-after-choice": "soft-max after the choice",
    "values-of-the-next-block": "block 1",
    "weight-rows-exchanged": "exchanged H 3 90",
    "weight-rows-moved": "moved H -1",
    "router-rows-exchanged": "exchanged rows 2 7 mlp.gate.router_mlp.fc1.weight",
    "tokens-exchanged": "exchanged T 5 9",
    "token-repeated": "moved T 7,6",
    "tokens-left-out": "zero T 20–55",
    "query-heads-exchanged": "exchanged nq 2 5",
    "experts-exchanged": "exchanged experts 1 4",
    "one-key": "zero S 3",
    # Those of test/faults.
    "embedding-scaled": "factor √H embed_tokens",
    "input-scale-before-bias": "form scale-first",
    "first-norm-epsilon": "form epsilon 1e-6",
    "norm-weight-plus-one": "plus-one input_layernorm.weight",
    "branch-scale-before-bias": "form scale-first",
    "residual-scale-before-bias": "form scale-first",
    "residual-scales-exchanged": "module mlp attention",
    "final-norm-weight-missing": "left-out norm.weight",
    "logits-capped": "cap 30",
    "query-mean-not-halved": "form not-scaled",
    "key-mean-summed": "form sum",
    "depthwise-taps-reversed": "reversed self_attn.qkv_proj.conv_qk_depthwise.weight",
    "grouped-taps-reversed": "reversed self_attn.qkv_proj.conv_qk_grouped.weight",
    "query-mean-not-added": "value-left-out .self_attn.qkv_proj:query_residual",
    "value-not-delayed": "passed-on .self_attn.qkv_proj.v_proj_delayed",
    "value-heads-exchanged": "exchanged .self_attn.qkv_proj.v_proj_current .self_attn.qkv_proj:value_delayed",
    "value-halves-in-each-head": "halves in each head",
    "temperature-exponentiated": "exponential self_attn.qk_norm.temp",
    "rope-interleaved": "pairwise",
    "rope-base": "base 1000000",
    "attention-scale-missing": "form not-scaled",
    "mask-off-by-one": "mask ahead",
    "value-heads-interleaved": "grouping",
    "router-bias-missing": "left-out mlp.gate.down_proj.bias",
    "eda-dropped": "value-left-out .mlp.gate:router_hidden_states",
    "eda-after-norm": "reads .mlp.gate:router_hidden_states .mlp.gate.router_mlp.norm",
    "gelu-tanh": "form activation gelu",
    "second-best-expert": "form second",
    "expert-weight-biased": "reads .mlp.gate:router_probs .mlp.gate:biased_router_probs",
    "expert-weight-renormalised": "renormalised",
    "expert-ids-shifted": "neighbour 1 ids",
    "gate-up-rows-exchanged": "halves out",
    "gate-up-exchanged": "halves .mlp.experts:gate_up",
    "expert-weight-unused": "value-not-multiplied .mlp.gate:expert_weight",
    "skip-weight-kept": "skip kept",
}

# Faults that are none of structure: no cause is to be named for them.
OTHERS = ["output-row-corrupted", "skip-bias-overwritten", "router-softmax-bf16", "attention-softmax-bf16", "weight-is-nan"]

# Faults of a part of a value: by name, the axis and the entries of it that alone are wrong.
PARTS = [
    Fault(
        "one-query-head",
        "The output of query head 3 is a tenth too large.",
        f"{ATTENTION}:attn_output",
        edit(EAGER, "torch.matmul(attn_weights, value_states)", "torch.matmul(attn_weights, value_states) * (1 + 0.1 * (torch.arange(8) == 3))[:, None, None]"),
    ),
    Fault(
        "one-kv-head",
        "The temperature of KV head 1 is a fifth too large in block 4.",
        "layers.4.self_attn.qk_norm:key",
        _block(4, lambda block: block.self_attn.qk_norm.temp[1].mul_(1.2)),
    ),
    Fault(
        "one-channel-of-every-head",
        "Channel 5 of every query head is halved after the norm.",
        "layers.0.self_attn.qk_norm:query",
        edit(
            zaya.ZayaQKNorm.forward,
            "key_states = key_states * self.temp",
            "query_states = query_states * (1 - 0.5 * (torch.arange(16) == 5))\n    key_states = key_states * self.temp",
        ),
    ),
    Fault(
        "one-channel",
        "Column 17 of the output projection is a half too large.",
        "layers.3.self_attn.o_proj",
        _block(3, lambda block: block.self_attn.o_proj.weight[17].mul_(1.5)),
    ),
    Fault(
        "one-expert",
        "The down projection of expert 5 is a tenth too large in block 2.",
        "layers.2.mlp.experts:down",
        _block(2, lambda block: block.mlp.experts.down_proj[5].mul_(1.1)),
    ),
    Fault(
        "one-key",
        "Nothing attends to key 3.",
        f"{ATTENTION}:attn_weights",
        edit(
            EAGER,
            "dtype=torch.float32).to(query.dtype)",
            "dtype=torch.float32).to(query.dtype) * (torch.arange(key.shape[-2]) != 3)",
        ),
    ),
    Fault(
        "one-choice",
        "Tokens of expert 5 run through expert 0 in block 2.",
        "layers.2.mlp.gate:expert",
        edit(
            zaya.ZayaRouter.forward,
            "_, router_indices = torch.topk(biased_router_probs, self.top_k, dim=-1)",
            "router_indices = (lambda own: torch.where((own == 5) & (self.layer_idx == 2), 0, own))("
            "torch.topk(biased_router_probs, self.top_k, dim=-1).indices)",
        ),
    ),
]
WITHIN = {
    "one-query-head": ["nq", [3]],
    "one-kv-head": ["nk", [1]],
    "one-channel-of-every-head": ["d", [5]],
    "one-channel": ["H", [17]],
    "one-expert": ["expert", [5]],
    "one-key": ["S", [3]],
    "one-choice": ["expert", [5]],
}

ALL = {fault.name: fault for fault in [*FAULTS.values(), *NEW, *PARTS]}
