"""Wrong models: compressed convolutional attention, from the projections to the output projection."""

import math

import torch
from transformers.models.zaya import modeling_zaya as zaya

from alteration import Fault, change, edit, output_of

QKV = "layers.0.self_attn.qkv_proj"
ROTATION = """    q_embed = (q_rot * cos) + (rotate_half(q_rot) * sin)
    k_embed = (k_rot * cos) + (rotate_half(k_rot) * sin)
"""
PAIRWISE_ROTATION = """    cos, sin = (table.chunk(2, -1)[0].repeat_interleave(2, -1) for table in (cos, sin))
    q_embed, k_embed = (
        x * cos + torch.stack((-x[..., 1::2], x[..., 0::2]), -1).flatten(-2) * sin for x in (q_rot, k_rot)
    )
"""

ATTENTION_FAULTS = [
    Fault(
        "query-mean-not-halved",
        "The mean of query and key is their sum.",
        f"{QKV}:query_residual",
        edit(zaya.ZayaCCAProjection.forward, "(query_residual + key_residual) * 0.5", "query_residual + key_residual"),
    ),
    Fault(
        "key-mean-summed",
        "The key's mean over its group of query heads is a sum.",
        f"{QKV}:key_residual",
        edit(zaya.ZayaCCAProjection.forward, ".mean(dim=-2)", ".sum(dim=-2)"),
    ),
    Fault(
        "conv-padded-twice",
        "Each convolution is padded with zeros by itself, so the depthwise row before the first token is 0 instead of the bias.",
        f"{QKV}.conv_qk_depthwise:lead",
        change(lambda model: _on_qkv(model, lambda qkv: output_of(qkv.conv_qk_depthwise, _zero_lead))),
    ),
    Fault(
        "depthwise-taps-reversed",
        "The depthwise convolution's taps are in the order of time reversed; before the first token all are zero, so that row is right.",
        f"{QKV}.conv_qk_depthwise",
        change(lambda model: _on_qkv(model, lambda qkv: _reverse_taps(qkv.conv_qk_depthwise))),
    ),
    Fault(
        "grouped-taps-reversed",
        "The grouped convolution's taps are in the order of time reversed.",
        f"{QKV}.conv_qk_grouped",
        change(lambda model: _on_qkv(model, lambda qkv: _reverse_taps(qkv.conv_qk_grouped))),
    ),
    Fault(
        "grouped-im2col-f16",
        "The grouped convolution sees its input rounded to F16, as through an F16 im2col.",
        f"{QKV}.conv_qk_grouped",
        change(lambda model: _on_qkv(model, lambda qkv: _round_input(qkv.conv_qk_grouped, torch.float16))),
    ),
    Fault(
        "query-mean-not-added",
        "The mean of query and key is not added to the convolved query.",
        f"{QKV}:query",
        edit(zaya.ZayaCCAProjection.forward, ".view(*hidden_shape) + query_residual", ".view(*hidden_shape)"),
    ),
    Fault(
        "value-not-delayed",
        "The delayed half of the value is that of the token itself.",
        f"{QKV}:value_delayed",
        edit(
            zaya.ZayaCCAProjection.forward,
            "torch.cat([recurrent_v_state, delayed_v_state[:, :-1]], dim=1)",
            "delayed_v_state.clone()",
        ),
    ),
    Fault(
        "value-heads-exchanged",
        "KV head 0 is the delayed value and KV head 1 the current one.",
        f"{QKV}:value",
        edit(zaya.ZayaCCAProjection.forward, "[value_current, value_delayed]", "[value_delayed, value_current]"),
    ),
    Fault(
        "value-halves-in-each-head",
        "Each KV head is half current and half delayed value.",
        f"{QKV}:value",
        edit(
            zaya.ZayaCCAProjection.forward,
            "torch.cat([value_current, value_delayed], dim=-1)",
            "torch.cat([v.unflatten(-1, (self.num_key_value_heads, -1)) for v in (value_current, value_delayed)], dim=-1)",
        ),
    ),
    Fault(
        "value-is-nan",
        "One element of one token's current value is NaN in block 2.",
        "layers.2.self_attn.qkv_proj.v_proj_current",
        change(lambda model: output_of(model.model.layers[2].self_attn.qkv_proj.v_proj_current, _nan_at_token_10)),
    ),
    Fault(
        "l2-epsilon-missing",
        "The norms of query and key have no epsilon; no head of the prompt is short enough for it.",
        "layers.0.self_attn.qk_norm:query",
        edit(zaya.ZayaQKNorm.forward, "torch.finfo(query_states.dtype).eps", "0.0"),
        shows=False,
    ),
    Fault(
        "temperature-exponentiated",
        "The key is multiplied by exp(temp).",
        "layers.0.self_attn.qk_norm:key",
        edit(zaya.ZayaQKNorm.forward, "self.temp[None", "self.temp.exp()[None"),
    ),
    Fault(
        "rope-interleaved",
        "RoPE turns neighbouring dims against each other instead of the two halves.",
        "layers.0.self_attn:query_rope",
        edit(zaya.apply_rotary_pos_emb, ROTATION, PAIRWISE_ROTATION),
        also=("layers.0.self_attn:key_rope",),
    ),
    Fault(
        "rope-base",
        "RoPE has ZAYA1-base's base of 1e6 instead of 5e6.",
        "layers.0.self_attn:query_rope",
        change(lambda model: _set_rope_base(model.model.rotary_emb, 1e6)),
        also=("layers.0.self_attn:key_rope",),
    ),
    Fault(
        "attention-scale-missing",
        "The attention scores are not divided by the root of the head dim.",
        "layers.0.self_attn:attn_weights",
        edit(zaya.eager_attention_forward, " * scaling", ""),
    ),
    Fault(
        "mask-off-by-one",
        "Every token sees the next one.",
        "layers.0.self_attn:attn_weights",
        edit(
            zaya.eager_attention_forward,
            "attn_weights + attention_mask",
            "attn_weights + torch.cat([attention_mask[..., 1:, :], attention_mask[..., -1:, :]], dim=-2)",
        ),
    ),
    Fault(
        "attention-softmax-bf16",
        "The soft-max of attention is computed in BF16.",
        "layers.0.self_attn:attn_weights",
        edit(zaya.eager_attention_forward, "dim=-1, dtype=torch.float32", "dim=-1, dtype=torch.bfloat16"),
    ),
    Fault(
        "value-heads-interleaved",
        "Query head h reads the value of KV head h mod 2 instead of h div 4.",
        "layers.0.self_attn:attn_output",
        edit(zaya.eager_attention_forward, "repeat_kv(value, module.num_key_value_groups)", "value.repeat(1, module.num_key_value_groups, 1, 1)"),
    ),
    Fault(
        "output-row-corrupted",
        "One row of the attention's output projection is scaled by 1.5 in block 3.",
        "layers.3.self_attn.o_proj",
        change(lambda model: model.model.layers[3].self_attn.o_proj.weight[17].mul_(1.5)),
    ),
]


def _on_qkv(model, apply) -> None:
    for block in model.model.layers:
        apply(block.self_attn.qkv_proj)


def _zero_lead(rows: torch.Tensor) -> torch.Tensor:
    """[1, C, 1 + T] with its first row, the one that the grouped convolution reaches back to, 0."""
    return torch.cat([torch.zeros_like(rows[..., :1]), rows[..., 1:]], dim=-1)


def _reverse_taps(conv: torch.nn.Conv1d) -> None:
    conv.weight.copy_(conv.weight.flip(-1))


def _round_input(module: torch.nn.Module, dtype: torch.dtype) -> None:
    module.register_forward_pre_hook(lambda _module, args: (args[0].to(dtype).to(args[0].dtype),))


def _nan_at_token_10(rows: torch.Tensor) -> torch.Tensor:
    rows = rows.clone()
    rows[0, 10, 3] = math.nan
    return rows


def _set_rope_base(rotary: torch.nn.Module, base: float) -> None:
    pairs = len(rotary.hybrid_inv_freq)
    rotary.hybrid_inv_freq.copy_(1.0 / base ** (torch.arange(pairs) / pairs))
