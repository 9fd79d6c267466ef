"""Trains the tiny byte-level ZAYA: small enough to commit, with every feature of the architecture in use.

Transformers' default initialisation lets the routers collapse onto one expert; unit-gain matrices, a wider router MLP and a
proportional update of the balancing biases keep all experts in use (the skip class at its target share).
"""

import math
import time
from dataclasses import dataclass

import torch
from transformers import ZayaConfig, ZayaForCausalLM

from balancing import class_load, target_load
from byte_tokenizer import SPECIAL, VOCAB_SIZE, encode_text
from corpus import corpus

BATCH, LENGTH = 16, 128
LEARNING_RATE = 3e-3
WARMUP_STEPS = 20
SKIP_TARGET = 0.05


@dataclass(frozen=True)
class TrainingResult:
    """Losses in nats per token; `seconds` is wall time."""

    first_loss: float
    last_loss: float
    held_out_loss: float
    steps: int
    seconds: float
    parameters: int


def tiny_config() -> ZayaConfig:
    """8 blocks, 8 experts and the skip class, 8 query and 2 KV heads; the special ids lie above the bytes."""
    rope = {"rope_type": "default", "partial_rotary_factor": 0.5}
    return ZayaConfig(
        vocab_size=VOCAB_SIZE,
        hidden_size=128,
        num_hidden_layers=8,
        num_attention_heads=8,
        num_key_value_heads=2,
        head_dim=16,
        num_experts=8,
        moe_intermediate_size=64,
        router_hidden_size=32,
        max_position_embeddings=4096,
        rope_parameters={"hybrid": {**rope, "rope_theta": 5e6}, "hybrid_sliding": {**rope, "rope_theta": 1e4}},
        pad_token_id=SPECIAL["pad"],
        bos_token_id=SPECIAL["bos"],
        eos_token_id=SPECIAL["eos"],
    )


def train(steps: int, seed: int, log=print) -> tuple[ZayaForCausalLM, TrainingResult]:
    """A trained model in F32; the same seed, thread count and machine give the same weights."""
    torch.manual_seed(seed)
    torch.use_deterministic_algorithms(True)
    model = ZayaForCausalLM._from_config(tiny_config(), attn_implementation="eager", experts_implementation="eager")
    generator = torch.Generator().manual_seed(seed)
    _initialise(model, generator)
    data, held_out = _stream(seed, 1_500_000), _stream(seed + 1, 60_000)
    optimizer = _optimizer(model)
    loads = _RouterLoads(model)
    started = time.monotonic()
    losses: list[float] = []
    model.train()
    for step in range(steps):
        share = min(1.0, (step + 1) / WARMUP_STEPS) * 0.5 * (1 + math.cos(math.pi * step / steps))
        for group in optimizer.param_groups:
            group["lr"] = LEARNING_RATE * share
        loss = _loss(model, data, torch.randint(0, len(data) - LENGTH - 1, (BATCH,), generator=generator))
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        loads.update_biases(share)
        losses.append(loss.item())
        if step % 20 == 0 or step == steps - 1:
            log(f"step {step}: loss {losses[-1]:.3f}, {time.monotonic() - started:.0f} s", flush=True)
    loads.close()
    model.eval()
    with torch.no_grad():
        windows = torch.arange(0, len(held_out) - LENGTH - 1, LENGTH)
        held_out_loss = sum(_loss(model, held_out, part).item() * len(part) for part in windows.split(BATCH)) / len(windows)
    seconds = time.monotonic() - started
    parameters = sum(p.numel() for p in model.parameters())
    return model, TrainingResult(losses[0], sum(losses[-10:]) / 10, held_out_loss, steps, seconds, parameters)


class _RouterLoads:
    """Sees every router's choices and moves its balancing biases towards the target load."""

    def __init__(self, model: ZayaForCausalLM) -> None:
        self._gates = [block.mlp.gate for block in model.model.layers]
        self._loads: dict[int, torch.Tensor] = {}
        self._handles = [gate.register_forward_hook(self._see) for gate in self._gates]

    def _see(self, gate, _args, outputs) -> None:
        with torch.no_grad():
            chosen = (outputs[0].softmax(-1).float() + gate.balancing_biases).argmax(-1)
            self._loads[id(gate)] = class_load(chosen, gate.num_router_classes)

    def update_biases(self, share: float) -> None:
        for gate in self._gates:
            excess = target_load(gate.num_router_classes, SKIP_TARGET) - self._loads[id(gate)]
            gate.balancing_biases += 0.01 * share * (8 * excess).clamp(-1, 1)
            gate.balancing_biases -= gate.balancing_biases.mean()

    def close(self) -> None:
        for handle in self._handles:
            handle.remove()


def _initialise(model: ZayaForCausalLM, generator: torch.Generator) -> None:
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.endswith("temp"):
                parameter.fill_(1)
            elif "embed_tokens" in name:
                parameter.normal_(0, 0.1, generator=generator)
            elif parameter.ndim >= 2:
                fan_in = parameter.shape[-1] * (parameter.shape[-2] if "conv_qk" in name else 1)
                gain = 1.5 if ".router_mlp." in name else 1.0
                parameter.normal_(0, gain * fan_in**-0.5, generator=generator)
            elif name.endswith(".bias"):
                parameter.zero_()
        for block in model.model.layers:
            block.mlp.gate.balancing_biases.zero_()


def _optimizer(model: ZayaForCausalLM) -> torch.optim.AdamW:
    matrices = [p for p in model.parameters() if p.ndim >= 2]
    vectors = [p for p in model.parameters() if p.ndim < 2]
    groups = [{"params": matrices, "weight_decay": 0.01}, {"params": vectors, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=LEARNING_RATE, betas=(0.9, 0.95))


def _stream(seed: int, size_bytes: int) -> torch.Tensor:
    """Documents one after another, each between bos and eos."""
    tokens: list[int] = []
    for text in corpus(seed, size_bytes):
        tokens += [*encode_text(text), SPECIAL["eos"]]
    return torch.tensor(tokens)


def _loss(model: ZayaForCausalLM, data: torch.Tensor, starts: torch.Tensor) -> torch.Tensor:
    windows = torch.stack([data[start : start + LENGTH + 1] for start in starts.tolist()])
    logits = model(input_ids=windows[:, :-1], use_cache=False).logits
    return torch.nn.functional.cross_entropy(logits.flatten(0, 1), windows[:, 1:].flatten())
