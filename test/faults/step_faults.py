"""Wrong models whose faults show in continued sequences and in left-padded batches: states, delays, positions, masks, padding.

They are meant for calls of 16, 9, 1 and 1 slots over sequences of 27, 20 and 14 tokens: `position` and `step` are where each
first shows; a value of a whole call stands at the call's last position.
"""

from dataclasses import dataclass

from transformers.models.zaya import modeling_zaya as zaya

from alteration import Fault, edit

QKV = "layers.0.self_attn.qkv_proj"
ATTENTION = "layers.0.self_attn"
CCA = zaya.ZayaCCAProjection.forward
CACHED_ROWS = "past_key_values.layers[self.layer_idx].conv_states[0]"
CACHED_VALUE = "past_key_values.layers[self.layer_idx].recurrent_states[0]"
NEW_ROWS = "new_conv_state = qk_states[..., -self.conv_kernel_size :]"
SHIFTED = "torch.cat([recurrent_v_state, delayed_v_state[:, :-1]], dim=1)"
UPDATE = "past_key_values.update(key_states, value_states, self.layer_idx)"
POSITIONS = "position_ids[:, None, :].float()"
WITH_MASK = "attn_weights = attn_weights + attention_mask"


@dataclass(frozen=True)
class StepFault(Fault):
    """A fault with the sequence, position and step at which it first shows. `padded`: in batches of several lengths only."""

    sequence: int = 0
    position: int = 0
    step: int = 0
    padded: bool = False


STEP_FAULTS = [
    StepFault(
        "conv-state-not-carried",
        "A continued call starts its convolutions from zeros.",
        f"{QKV}.conv_qk_depthwise:lead",
        edit(CCA, f"cached_qk_states = {CACHED_ROWS}", f"cached_qk_states = torch.zeros_like({CACHED_ROWS})"),
        position=24,
        step=1,
    ),
    StepFault(
        "conv-state-one-token-late",
        "The convolution state ends with the token before the last.",
        f"{QKV}:conv_state",
        edit(CCA, NEW_ROWS, "new_conv_state = qk_states[..., -self.conv_kernel_size - 1 : -1]"),
        position=15,
    ),
    StepFault(
        "conv-state-of-the-first-token",
        "A continued chunk leaves the state that its first token made.",
        f"{QKV}:conv_state",
        edit(
            CCA,
            NEW_ROWS,
            "new_conv_state = qk_states[..., 1 : self.conv_kernel_size + 1] if use_precomputed_states "
            "else qk_states[..., -self.conv_kernel_size :]",
        ),
        position=24,
        step=1,
    ),
    StepFault(
        "conv-state-reversed",
        "The convolution state holds its rows newest first.",
        f"{QKV}:conv_state",
        edit(CCA, NEW_ROWS, f"{NEW_ROWS}.flip(-1)"),
        position=15,
    ),
    StepFault(
        "conv-state-of-another-sequence",
        "A continued call takes the convolution state of the sequence beside it.",
        f"{QKV}.conv_qk_depthwise:lead",
        edit(CCA, f"cached_qk_states = {CACHED_ROWS}", f"cached_qk_states = {CACHED_ROWS}.roll(1, 0)"),
        position=24,
        step=1,
        padded=True,
    ),
    StepFault(
        "delayed-value-reset",
        "The delayed value starts from zero in every call.",
        f"{QKV}:value_delayed",
        edit(CCA, f"{CACHED_VALUE}.unsqueeze(1)", f"torch.zeros_like({CACHED_VALUE}).unsqueeze(1)"),
        position=16,
        step=1,
    ),
    StepFault(
        "delayed-value-of-the-first-token",
        "A call leaves the delayed value of its first token.",
        f"{QKV}:delayed_state",
        edit(CCA, "update_recurrent_state(delayed_v_state[:, -1, :]", "update_recurrent_state(delayed_v_state[:, 0, :]"),
        position=15,
    ),
    StepFault(
        "value-not-delayed-in-decode",
        "In a call of one token the delayed value is that of the token itself.",
        f"{QKV}:value_delayed",
        edit(CCA, SHIFTED, f"delayed_v_state.clone() if delayed_v_state.shape[1] == 1 else {SHIFTED}"),
        position=25,
        step=2,
    ),
    StepFault(
        "delayed-value-of-another-sequence",
        "A continued call takes the delayed value of the sequence beside it.",
        f"{QKV}:value_delayed",
        edit(CCA, f"{CACHED_VALUE}.unsqueeze(1)", f"{CACHED_VALUE}.roll(1, 0).unsqueeze(1)"),
        position=16,
        step=1,
        padded=True,
    ),
    StepFault(
        "position-off-by-one-in-decode",
        "From the first call of one token on positions are one too large.",
        f"{ATTENTION}:query_rope",
        edit(zaya.ZayaRotaryEmbedding.forward, POSITIONS, f"(position_ids + (position_ids.shape[1] == 1)){POSITIONS[12:]}"),
        position=25,
        step=2,
    ),
    StepFault(
        "positions-restart",
        "Every call counts its positions from zero.",
        f"{ATTENTION}:query_rope",
        edit(zaya.ZayaRotaryEmbedding.forward, POSITIONS, f"(position_ids - position_ids[:, :1]){POSITIONS[12:]}"),
        position=16,
        step=1,
    ),
    StepFault(
        "mask-off-in-a-chunk",
        "A continued chunk attends to its own later tokens.",
        f"{ATTENTION}:attn_weights",
        edit(
            zaya.eager_attention_forward,
            WITH_MASK,
            "attn_weights = attn_weights + (attention_mask if attention_mask.shape[-2] == attention_mask.shape[-1] "
            "else attention_mask.amax(-2, keepdim=True))",
        ),
        position=16,
        step=1,
    ),
    StepFault(
        "mask-late-in-a-chunk",
        "A token of a continued chunk does not see itself.",
        f"{ATTENTION}:attn_weights",
        edit(
            zaya.eager_attention_forward,
            WITH_MASK,
            "attn_weights = attn_weights + (attention_mask if attention_mask.shape[-2] in (1, attention_mask.shape[-1]) "
            "else attention_mask.roll(-1, -1))",
        ),
        position=16,
        step=1,
    ),
    StepFault(
        "key-cache-in-f16",
        "Cached keys are rounded to F16.",
        f"{ATTENTION}:k_cache",
        edit(zaya.ZayaAttention.forward, UPDATE, UPDATE.replace("(key_states", "(key_states.half().float()")),
        position=15,
    ),
    StepFault(
        "value-cache-turned-in-a-chunk",
        "The values of a continued chunk are cached in reverse order.",
        f"{ATTENTION}:v_cache",
        edit(
            zaya.ZayaAttention.forward,
            UPDATE,
            UPDATE.replace("value_states", "value_states.flip(2) if value_states.shape[2] == 9 else value_states"),
        ),
        position=24,
        step=1,
    ),
    StepFault(
        "padding-leaks-into-convolutions",
        "Padding is not zeroed in front of the convolutions.",
        f"{QKV}.conv_qk_depthwise",
        edit(CCA, "if conv_mask is not None:", "if False:"),
        sequence=1,
        padded=True,
    ),
    StepFault(
        "padding-attended",
        "Attention sees padding.",
        f"{ATTENTION}:attn_weights",
        edit(
            zaya.ZayaModel.forward,
            "create_causal_mask(**mask_kwargs)",
            'create_causal_mask(**{**mask_kwargs, "attention_mask": None})',
        ),
        sequence=1,
        padded=True,
    ),
    StepFault(
        "padding-counted-as-positions",
        "Positions count padding.",
        f"{ATTENTION}:query_rope",
        edit(zaya.ZayaModel.forward, "if position_ids is None:", "if True:"),
        sequence=1,
        padded=True,
    ),
]
