"""Wrong models: more of the embedding, the norms, the residual stream and the head."""

import torch
from transformers.models.zaya import modeling_zaya as zaya

from alteration import Fault, change, edit, output_of

STREAM_FAULTS = [
    Fault(
        "embedding-of-the-token-before",
        "Every token gets the embedding of the token before it.",
        "embed_tokens",
        change(lambda model: output_of(model.model.embed_tokens, lambda rows: rows.roll(1, 1))),
    ),
    Fault(
        "input-bias-missing",
        "The input affine has no bias.",
        "input_affine",
        change(lambda model: model.model.input_hidden_states_bias.zero_()),
    ),
    Fault(
        "norms-centred",
        "Every norm subtracts the mean first, as LayerNorm does.",
        "layers.0.input_layernorm",
        edit(
            zaya.ZayaRMSNorm.forward,
            "hidden_states = hidden_states.to(torch.float32)\n",
            "hidden_states = hidden_states.to(torch.float32)\n    hidden_states = hidden_states - hidden_states.mean(-1, keepdim=True)\n",
        ),
    ),
    Fault(
        "norms-epsilon",
        "Every norm has an epsilon of 1e-6 instead of 1e-5.",
        "layers.0.input_layernorm",
        edit(zaya.ZayaRMSNorm.forward, "self.variance_epsilon)", "1e-6)"),
    ),
    Fault(
        "norm-of-another-block",
        "Block 2 has block 3's norm after attention.",
        "layers.2.post_attention_layernorm",
        change(lambda model: _copy_weight(model, 3, 2, "post_attention_layernorm")),
    ),
    Fault(
        "residual-not-scaled",
        "Block 5 does not scale the residual after its experts.",
        "layers.5.post_mlp_residual_scale:residual",
        change(lambda model: model.model.layers[5].post_mlp_residual_scale.residual_scale.fill_(1)),
    ),
    Fault(
        "residual-bias-twice",
        "Block 1 adds the residual's bias twice after attention.",
        "layers.1.post_attention_residual_scale:residual",
        change(lambda model: model.model.layers[1].post_attention_residual_scale.residual_bias.mul_(2)),
    ),
    Fault(
        "residual-dropped",
        "The residual is not added to the sub-layer's branch.",
        "layers.0.post_attention_residual_scale",
        edit(zaya.ZayaResidualScaling.forward, "return hidden_states + residual", "return hidden_states + 0 * residual"),
    ),
    Fault(
        "block-left-out",
        "Block 6 gives its input.",
        "layers.6",
        change(lambda model: _leave_out(model.model.layers[6])),
    ),
    Fault(
        "final-norm-epsilon",
        "The final norm has an epsilon of 1e-2.",
        "norm",
        change(lambda model: setattr(model.model.norm, "variance_epsilon", 1e-2)),
    ),
    Fault(
        "logits-of-the-next-token-id",
        "The head's rows are off by one.",
        "lm_head",
        change(lambda model: output_of(model.lm_head, lambda logits: logits.roll(1, -1))),
    ),
    Fault(
        "logits-scaled",
        "The logits are 2 % too large.",
        "lm_head",
        change(lambda model: output_of(model.lm_head, lambda logits: logits * 1.02)),
    ),
]


def _copy_weight(model, source: int, target: int, path: str) -> None:
    layers = model.model.layers
    layers[target].get_submodule(path).weight.copy_(layers[source].get_submodule(path).weight)


def _leave_out(block: torch.nn.Module) -> None:
    block.register_forward_hook(lambda _module, args, output: (args[0].clone(), *output[1:]))
