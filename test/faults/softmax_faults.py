"""Wrong models: more of the norms of query and key, RoPE, mask, soft-max and output of attention."""

import torch
from transformers.models.zaya import modeling_zaya as zaya

from alteration import Fault, change, edit

ATTENTION = "layers.0.self_attn"
EAGER = zaya.eager_attention_forward
TURNED_KEY = "(k_rot * cos) + (rotate_half(k_rot) * sin)"
WITH_MASK = "attn_weights + attention_mask"
SOFTMAX = "nn.functional.softmax(attn_weights, dim=-1, dtype=torch.float32)"

SOFTMAX_FAULTS = [
    Fault(
        "query-norm-of-absolutes",
        "Queries are divided by the sum of their absolute values.",
        f"{ATTENTION}.qk_norm:query",
        edit(zaya.ZayaQKNorm.forward, "query_states.norm(p=2", "query_states.norm(p=1"),
    ),
    Fault(
        "key-norm-not-scaled",
        "Keys have norm 1 instead of the root of the head dim.",
        f"{ATTENTION}.qk_norm:key",
        edit(zaya.ZayaQKNorm.forward, "self.head_dim_scale / key_states", "1.0 / key_states"),
    ),
    Fault(
        "temperature-of-the-other-head",
        "The temperatures of the two KV heads are exchanged.",
        f"{ATTENTION}.qk_norm:key",
        edit(zaya.ZayaQKNorm.forward, "self.temp[None", "self.temp.flip(0)[None"),
    ),
    Fault(
        "rope-turned-back",
        "RoPE turns queries and keys the other way.",
        f"{ATTENTION}:query_rope",
        change(lambda model: model.model.rotary_emb.hybrid_inv_freq.neg_()),
        also=(f"{ATTENTION}:key_rope",),
    ),
    Fault(
        "rope-keys-one-late",
        "RoPE turns every key by the position before its own.",
        f"{ATTENTION}:key_rope",
        edit(
            zaya.apply_rotary_pos_emb,
            TURNED_KEY,
            "(k_rot * cos.roll(1, -2)) + (rotate_half(k_rot) * sin.roll(1, -2))",
        ),
    ),
    Fault(
        "rope-table-in-bf16",
        "The table of cosines is rounded to BF16.",
        f"{ATTENTION}:query_rope",
        edit(zaya.ZayaRotaryEmbedding.forward, "return cos.to(", "return cos.bfloat16().to("),
        also=(f"{ATTENTION}:key_rope",),
    ),
    Fault(
        "keys-of-the-other-head",
        "Query heads read the keys of the other KV head.",
        f"{ATTENTION}:attn_weights",
        edit(EAGER, "repeat_kv(key, module", "repeat_kv(key.flip(1), module"),
    ),
    Fault(
        "attention-window",
        "Tokens see the last eight only.",
        f"{ATTENTION}:attn_weights",
        edit(EAGER, WITH_MASK, f"{WITH_MASK} - 1e4 * torch.ones_like(attn_weights).tril(-8)"),
    ),
    Fault(
        "attention-scale-a-little-off",
        "The attention scores are 1 % too large.",
        f"{ATTENTION}:attn_weights",
        edit(EAGER, " * scaling", " * (1.01 * scaling)"),
    ),
    Fault(
        "softmax-plus-one",
        "The soft-max of attention has a sink: 1 is added to its denominator.",
        f"{ATTENTION}:attn_weights",
        edit(
            EAGER,
            SOFTMAX,
            "nn.functional.softmax(torch.cat([attn_weights, torch.zeros_like(attn_weights[..., :1])], -1), "
            "dim=-1, dtype=torch.float32)[..., :-1]",
        ),
    ),
    Fault(
        "values-in-f16",
        "Attention reads its values rounded to F16.",
        f"{ATTENTION}:attn_output",
        edit(EAGER, "(attn_weights, value_states)", "(attn_weights, value_states.half().to(value_states.dtype))"),
    ),
    Fault(
        "attention-heads-reversed",
        "The heads of the attention's output are joined in reverse order.",
        f"{ATTENTION}:attn_output",
        edit(EAGER, "attn_output.transpose(1, 2)", "attn_output.flip(1).transpose(1, 2)"),
    ),
    Fault(
        "output-projection-transposed",
        "Block 1's output projection is transposed.",
        "layers.1.self_attn.o_proj",
        change(lambda model: _transpose(model.model.layers[1].self_attn.o_proj.weight)),
    ),
]


def _transpose(weight: torch.Tensor) -> None:
    weight.copy_(weight.t().clone())
