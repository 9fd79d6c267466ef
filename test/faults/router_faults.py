"""Wrong models: more of the router and the experts."""

import torch
from transformers.models.zaya import modeling_zaya as zaya

from alteration import Fault, change, edit

GATE = "layers.0.mlp.gate"
EXPERTS = "layers.0.mlp.experts"
ROUTER = zaya.ZayaRouter.forward
ROUTER_MLP = zaya.ZayaRouterMLP.forward

ROUTER_FAULTS = [
    Fault(
        "router-state-not-scaled",
        "The router adds the state of the block before unscaled.",
        "layers.1.mlp.gate:router_hidden_states",
        edit(ROUTER, "router_states * self.router_states_scale", "router_states"),
    ),
    Fault(
        "router-norm-missing",
        "The router's state is not normalised.",
        f"{GATE}.router_mlp.norm",
        edit(ROUTER_MLP, "self.norm(hidden_states)", "hidden_states.clone()"),
    ),
    Fault(
        "router-first-bias-missing",
        "The router's first layer has no bias in block 3.",
        "layers.3.mlp.gate.router_mlp.fc1",
        change(lambda model: _router_mlp(model, 3).fc1.bias.zero_()),
    ),
    Fault(
        "router-second-layer-transposed",
        "The matrix of the router's second layer is transposed in block 5.",
        "layers.5.mlp.gate.router_mlp.fc2",
        change(lambda model: _router_mlp(model, 5).fc2.weight.copy_(_router_mlp(model, 5).fc2.weight.t().clone())),
    ),
    Fault(
        "router-second-gelu-missing",
        "The router has one GELU only.",
        f"{GATE}.router_mlp:act2",
        edit(ROUTER_MLP, "self.act_fn(self.fc2(hidden_states))", "self.fc2(hidden_states).clone()"),
    ),
    Fault(
        "router-classes-exchanged",
        "Block 2's router exchanges experts 0 and 1.",
        "layers.2.mlp.gate.router_mlp.out_proj",
        change(lambda model: _exchange_classes(_router_mlp(model, 2).out_proj.weight)),
    ),
    Fault(
        "router-temperature",
        "The router's logits are divided by 1.1.",
        f"{GATE}:router_probs",
        edit(ROUTER, "torch.softmax(router_logits, dim=-1)", "torch.softmax(router_logits / 1.1, dim=-1)"),
    ),
    Fault(
        "router-sigmoid",
        "The router's probabilities are sigmoids.",
        f"{GATE}:router_probs",
        edit(ROUTER, "torch.softmax(router_logits, dim=-1)", "torch.sigmoid(router_logits)"),
    ),
    Fault(
        "balancing-bias-missing",
        "The router's choice has no balancing biases.",
        f"{GATE}:biased_router_probs",
        edit(ROUTER, ".to(torch.float32) + self.balancing_biases", ".to(torch.float32) + 0 * self.balancing_biases"),
    ),
    Fault(
        "balancing-bias-subtracted",
        "The balancing biases are subtracted.",
        f"{GATE}:biased_router_probs",
        edit(ROUTER, ".to(torch.float32) + self.balancing_biases", ".to(torch.float32) - self.balancing_biases"),
    ),
    Fault(
        "expert-plus-one",
        "Every token runs through the expert after its own.",
        f"{EXPERTS}:gate_up",
        edit(zaya.ZayaSparseMoeBlock.forward, "(hidden_states_flat, router_indices,", "(hidden_states_flat, (router_indices + 1) % 8,"),
    ),
    Fault(
        "expert-row-corrupted",
        "One row of every expert's gate projection is scaled by 1.5 in block 6.",
        "layers.6.mlp.experts:gate_up",
        change(lambda model: model.model.layers[6].mlp.experts.gate_up_proj[:, 10].mul_(1.5)),
    ),
    Fault(
        "expert-activation-gelu",
        "The experts' activation is GELU instead of SiLU.",
        f"{EXPERTS}:activated",
        edit(zaya.ZayaExperts.forward, "self.act_fn(gate) * up", "nn.functional.gelu(gate) * up"),
    ),
    Fault(
        "down-of-the-next-expert",
        "Every expert has the down projection of the one after it.",
        f"{EXPERTS}:down",
        change(lambda model: _roll_down(model)),
    ),
    Fault(
        "expert-weight-squared",
        "The expert's output is multiplied by its weight twice.",
        EXPERTS,
        edit(zaya.ZayaExperts.forward, "top_k_weights[token_idx, top_k_pos, None]", "top_k_weights[token_idx, top_k_pos, None] ** 2"),
    ),
]


def _router_mlp(model, block: int) -> torch.nn.Module:
    return model.model.layers[block].mlp.gate.router_mlp


def _exchange_classes(weight: torch.Tensor) -> None:
    weight[:2] = weight[:2].flip(0).clone()


def _roll_down(model) -> None:
    for block in model.model.layers:
        block.mlp.experts.down_proj.copy_(block.mlp.experts.down_proj.roll(-1, 0))
