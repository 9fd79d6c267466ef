"""Wrong models: the router and the experts."""

import math

import torch
from transformers.models.zaya import modeling_zaya as zaya

from alteration import Fault, change, edit

GATE = "layers.0.mlp.gate"
EXPERTS = "layers.0.mlp.experts"

MOE_FAULTS = [
    Fault(
        "router-bias-missing",
        "The router's down projection has no bias in block 1.",
        "layers.1.mlp.gate.down_proj",
        change(lambda model: model.model.layers[1].mlp.gate.down_proj.bias.zero_()),
    ),
    Fault(
        "eda-dropped",
        "No router adds the state of the block before; the first block has none to add.",
        "layers.1.mlp.gate:router_hidden_states",
        edit(zaya.ZayaRouter.forward, "if self.use_eda and router_states is not None:", "if False:"),
    ),
    Fault(
        "eda-after-norm",
        "The router state carried to the next block is the normalised one.",
        "layers.1.mlp.gate:router_hidden_states",
        edit(
            zaya.ZayaRouter.forward,
            "router_hidden_states[:, -seq_length:].clone()",
            "self.router_mlp.norm(router_hidden_states)[:, -seq_length:].clone()",
        ),
    ),
    Fault(
        "gelu-tanh",
        "The router's GELU is the tanh approximation.",
        f"{GATE}.router_mlp:act1",
        change(lambda model: _on_gate(model, lambda gate: setattr(gate.router_mlp, "act_fn", torch.nn.GELU(approximate="tanh")))),
    ),
    Fault(
        "router-softmax-bf16",
        "The soft-max of the router is computed in BF16.",
        f"{GATE}:router_probs",
        edit(
            zaya.ZayaRouter.forward,
            "torch.softmax(router_logits, dim=-1)",
            "torch.softmax(router_logits.bfloat16(), dim=-1).to(router_logits.dtype)",
        ),
    ),
    Fault(
        "skip-bias-overwritten",
        "The skip class's balancing bias is -1 in every block, as transformers 5.18 leaves it after loading.",
        f"{GATE}:biased_router_probs",
        change(lambda model: _on_gate(model, lambda gate: gate.balancing_biases[-1:].fill_(-1))),
    ),
    Fault(
        "second-best-expert",
        "Block 4 takes the second best expert.",
        "layers.4.mlp.gate:expert",
        edit(
            zaya.ZayaRouter.forward,
            "_, router_indices = torch.topk(biased_router_probs, self.top_k, dim=-1)",
            "router_indices = torch.topk(biased_router_probs, 2, dim=-1).indices[..., int(self.layer_idx == 4), None]",
        ),
    ),
    Fault(
        "expert-weight-biased",
        "The expert's weight is its probability plus its balancing bias.",
        f"{GATE}:expert_weight",
        edit(zaya.ZayaRouter.forward, "torch.gather(router_probs,", "torch.gather(biased_router_probs.to(router_probs.dtype),"),
    ),
    Fault(
        "expert-weight-renormalised",
        "The expert's weight is its probability among the real experts, without the skip class.",
        f"{GATE}:expert_weight",
        edit(
            zaya.ZayaRouter.forward,
            "torch.gather(router_probs,",
            "torch.gather(router_probs / router_probs[..., :-1].sum(-1, keepdim=True),",
        ),
    ),
    Fault(
        "skip-weight-kept",
        "Tokens that skip run through expert 0 with the skip class's probability.",
        f"{GATE}:expert_weight",
        edit(zaya.ZayaRouter.forward, "router_probs.masked_fill(skip_expert, 0)", "router_probs.clone()"),
    ),
    Fault(
        "expert-ids-shifted",
        "Every token runs through the expert of the token before it.",
        f"{EXPERTS}:gate_up",
        edit(zaya.ZayaSparseMoeBlock.forward, "(hidden_states_flat, router_indices,", "(hidden_states_flat, router_indices.roll(1, 0),"),
    ),
    Fault(
        "gate-up-rows-exchanged",
        "The fused expert weight holds the up rows before the gate rows.",
        f"{EXPERTS}:gate_up",
        change(lambda model: _exchange_gate_and_up(model)),
    ),
    Fault(
        "gate-up-exchanged",
        "The activation is applied to up instead of gate.",
        f"{EXPERTS}:activated",
        edit(zaya.ZayaExperts.forward, "self.act_fn(gate) * up", "self.act_fn(up) * gate"),
    ),
    Fault(
        "weight-is-nan",
        "One element of one expert's down projection is NaN in block 5.",
        "layers.5.mlp.experts:down",
        change(lambda model: model.model.layers[5].mlp.experts.down_proj[2, 7, 3].fill_(math.nan)),
    ),
    Fault(
        "expert-weight-unused",
        "The expert's output is not multiplied by its weight; skipped tokens still give 0.",
        EXPERTS,
        edit(
            zaya.ZayaExperts.forward,
            "current_hidden_states * top_k_weights[token_idx, top_k_pos, None]",
            "current_hidden_states * (top_k_weights[token_idx, top_k_pos, None] != 0)",
        ),
    ),
    Fault(
        "skip-is-identity",
        "The skip class gives the token's input instead of 0.",
        EXPERTS,
        edit(
            zaya.ZayaExperts.forward,
            "torch.zeros_like(hidden_states)",
            "torch.where(top_k_weights == 0, hidden_states, torch.zeros_like(hidden_states))",
        ),
    ),
]


def _on_gate(model, apply) -> None:
    for block in model.model.layers:
        apply(block.mlp.gate)


def _exchange_gate_and_up(model) -> None:
    for block in model.model.layers:
        fused = block.mlp.experts.gate_up_proj
        fused.copy_(torch.cat(fused.chunk(2, dim=1)[::-1], dim=1))
