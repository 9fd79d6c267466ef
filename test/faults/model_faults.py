"""Wrong models: embedding, norms, residual stream and head."""

import torch
from transformers.models.zaya import modeling_zaya as zaya

from alteration import Fault, change, edit, output_of

MODEL_FAULTS = [
    Fault(
        "embedding-scaled",
        "The embedding is multiplied by the root of the hidden size, as in Gemma.",
        "input_affine",
        edit(zaya.ZayaModel.forward, "hidden_states = inputs_embeds\n", "hidden_states = inputs_embeds * self.config.hidden_size**0.5\n"),
    ),
    Fault(
        "input-scale-before-bias",
        "The input affine multiplies first and adds its bias after.",
        "input_affine",
        edit(
            zaya.ZayaModel.forward,
            "((hidden_states + self.input_hidden_states_bias) * self.input_hidden_states_scale)",
            "(hidden_states * self.input_hidden_states_scale + self.input_hidden_states_bias)",
        ),
    ),
    Fault(
        "first-norm-epsilon",
        "The first norm of the first block has an epsilon of 1e-6 instead of 1e-5.",
        "layers.0.input_layernorm",
        change(lambda model: setattr(model.model.layers[0].input_layernorm, "variance_epsilon", 1e-6)),
    ),
    Fault(
        "norm-weight-plus-one",
        "Every norm multiplies by 1 + weight, as in Gemma.",
        "layers.0.input_layernorm",
        edit(zaya.ZayaRMSNorm.forward, "self.weight * ", "(1 + self.weight) * "),
    ),
    Fault(
        "branch-scale-before-bias",
        "The residual scaling multiplies the sub-layer's branch first and adds its bias after.",
        "layers.0.post_attention_residual_scale:hidden_states",
        edit(
            zaya.ZayaResidualScaling.forward,
            "(hidden_states + self.hidden_states_bias) * self.hidden_states_scale",
            "hidden_states * self.hidden_states_scale + self.hidden_states_bias",
        ),
    ),
    Fault(
        "residual-scale-before-bias",
        "The residual scaling multiplies the residual branch first and adds its bias after.",
        "layers.0.post_attention_residual_scale:residual",
        edit(
            zaya.ZayaResidualScaling.forward,
            "(residual + self.residual_bias) * self.residual_scale",
            "residual * self.residual_scale + self.residual_bias",
        ),
    ),
    Fault(
        "residual-in-bf16",
        "The residual stream is rounded to BF16 after every sub-layer.",
        "layers.0.post_attention_residual_scale",
        edit(zaya.ZayaResidualScaling.forward, "return hidden_states + residual", "return (hidden_states + residual).bfloat16().float()"),
    ),
    Fault(
        "residual-scales-exchanged",
        "Block 6 scales its expert output with the vectors of its attention output.",
        "layers.6.post_mlp_residual_scale:hidden_states",
        change(lambda model: _exchange_residual_scales(model.model.layers[6])),
    ),
    Fault(
        "final-norm-weight-missing",
        "The final norm has no weight.",
        "norm",
        change(lambda model: model.model.norm.weight.fill_(1)),
    ),
    Fault(
        "logits-capped",
        "The logits are soft-capped at 30, as in Gemma.",
        "lm_head",
        change(lambda model: output_of(model.lm_head, lambda logits: 30 * torch.tanh(logits / 30))),
    ),
]


def _exchange_residual_scales(block) -> None:
    block.post_mlp_residual_scale.hidden_states_scale.copy_(block.post_attention_residual_scale.hidden_states_scale)
    block.post_mlp_residual_scale.hidden_states_bias.copy_(block.post_attention_residual_scale.hidden_states_bias)
