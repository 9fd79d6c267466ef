"""Wrong models: more of the projections and convolutions of compressed convolutional attention."""

import torch
from transformers.models.zaya import modeling_zaya as zaya

from alteration import Fault, change, edit

QKV = "layers.0.self_attn.qkv_proj"
CCA = zaya.ZayaCCAProjection.forward

CCA_FAULTS = [
    Fault(
        "query-projection-of-another-block",
        "Block 2 projects queries with block 3's matrix.",
        "layers.2.self_attn.qkv_proj.q_proj",
        change(lambda model: _qkv(model, 2).q_proj.weight.copy_(_qkv(model, 3).q_proj.weight)),
    ),
    Fault(
        "value-projections-exchanged",
        "The current value is projected with the delayed one's matrix, and the other way round.",
        f"{QKV}.v_proj_current",
        change(lambda model: _exchange_value_projections(model)),
        also=(f"{QKV}.v_proj_delayed",),
    ),
    Fault(
        "key-projection-in-four-bits",
        "Block 1's key projection is rounded to 15 steps.",
        "layers.1.self_attn.qkv_proj.k_proj",
        change(lambda model: _round_to_steps(_qkv(model, 1).k_proj.weight)),
    ),
    Fault(
        "conv-input-keys-first",
        "The convolutions see keys before queries.",
        f"{QKV}:conv_input",
        edit(CCA, "torch.cat([projected_queries, projected_keys], dim=-1)", "torch.cat([projected_keys, projected_queries], dim=-1)"),
    ),
    Fault(
        "depthwise-bias-missing",
        "The depthwise convolution has no bias.",
        f"{QKV}.conv_qk_depthwise:lead",
        change(lambda model: [_qkv(model, n).conv_qk_depthwise.bias.zero_() for n in range(len(model.model.layers))]),
    ),
    Fault(
        "grouped-bias-missing",
        "Block 4's grouped convolution has no bias.",
        "layers.4.self_attn.qkv_proj.conv_qk_grouped",
        change(lambda model: _qkv(model, 4).conv_qk_grouped.bias.zero_()),
    ),
    Fault(
        "query-mean-interleaved",
        "Query head h is averaged with KV head h mod 2 instead of h div 4.",
        f"{QKV}:query_residual",
        edit(
            CCA,
            "repeat_kv(key_residual, self.num_key_value_groups)",
            "key_residual.repeat(1, self.num_key_value_groups, 1, 1)",
        ),
    ),
    Fault(
        "key-mean-of-one-query",
        "The key is averaged with the first query head of its group alone.",
        f"{QKV}:key_residual",
        edit(CCA, ".mean(dim=-2)", "[..., 0, :]"),
    ),
    Fault(
        "key-mean-not-added",
        "The mean of query and key is not added to the convolved key.",
        f"{QKV}:key",
        edit(CCA, "[..., query_hidden_size:].view(*hidden_shape) + key_residual", "[..., query_hidden_size:].view(*hidden_shape)"),
    ),
    Fault(
        "value-delayed-twice",
        "The delayed half of the value is that of two tokens before.",
        f"{QKV}:value_delayed",
        edit(
            CCA,
            "torch.cat([recurrent_v_state, delayed_v_state[:, :-1]], dim=1)",
            "torch.cat([recurrent_v_state, recurrent_v_state, delayed_v_state[:, :-2]], dim=1)",
        ),
    ),
]


def _qkv(model, block: int) -> torch.nn.Module:
    return model.model.layers[block].self_attn.qkv_proj


def _exchange_value_projections(model) -> None:
    for block in model.model.layers:
        current, delayed = block.self_attn.qkv_proj.v_proj_current, block.self_attn.qkv_proj.v_proj_delayed
        kept = current.weight.clone()
        current.weight.copy_(delayed.weight)
        delayed.weight.copy_(kept)


def _round_to_steps(weight: torch.Tensor) -> None:
    """Each row to 15 steps of its largest element."""
    step = weight.abs().amax(-1, keepdim=True) / 7
    weight.copy_((weight / step).round() * step)
