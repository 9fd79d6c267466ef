"""Faults planted by construction: in a module of the reference, or in the tensors of a GGUF file."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch

Tensors = list[tuple[str, np.ndarray]]


def block(model: torch.nn.Module, number: int) -> torch.nn.Module:
    """A decoder block."""
    inner = getattr(model, "model", None) or getattr(model, "backbone", None) or model.transformer
    return (getattr(inner, "layers", None) or inner.h)[number]


def without(*names: str) -> Callable[[torch.nn.Module], None]:
    """Block 1 without a norm, the first of these names that it has."""

    def alter(model: torch.nn.Module) -> None:
        owner = block(model, 1)
        name = next(each for each in names if hasattr(owner, each))
        passing = torch.nn.Identity()
        passing.weight = getattr(owner, name).weight  # Mamba asks for its dtype
        setattr(owner, name, passing)

    return alter


def mask_sees_next(model: torch.nn.Module) -> None:
    """In block 1 each token sees the one after it."""
    owner = block(model, 1)
    attention = getattr(owner, "self_attn", None) or owner.attn

    def shift(_module, args, kwargs):
        mask = kwargs["attention_mask"]
        kwargs["attention_mask"] = torch.cat([mask[:, :, 1:], mask[:, :, -1:]], 2)
        return args, kwargs

    attention.register_forward_pre_hook(shift, with_kwargs=True)


MODULE_FAULTS: dict[str, Callable[[torch.nn.Module], None]] = {
    "no ffn norm": without("post_attention_layernorm", "ffn_norm", "ln_2", "pre_feedforward_layernorm"),
    "no norm": without("input_layernorm", "norm", "ln_1", "operator_norm"),
    "no post norm": without("post_feedforward_layernorm"),
    "mask": mask_sees_next,
}


def swapped(first: str, second: str) -> Callable[[Tensors], Tensors]:
    """Two tensors of block 1 under each other's names."""
    names = {f"blk.1.{first}.weight": f"blk.1.{second}.weight", f"blk.1.{second}.weight": f"blk.1.{first}.weight"}
    return lambda tensors: [(names.get(name, name), value) for name, value in tensors]


def renamed(*pairs: tuple[str, str]) -> Callable[[Tensors], Tensors]:
    """Tensors under each other's names."""
    names = {f"{a}.weight": f"{b}.weight" for first, second in pairs for a, b in ((first, second), (second, first))}
    return lambda tensors: [(names.get(name, name), value) for name, value in tensors]


PARTS = ("attn_q", "attn_k", "attn_v", "attn_output", "ffn_gate", "ffn_up", "ffn_down", "attn_norm", "ffn_norm")


def changed(name: str, change: Callable[[np.ndarray], np.ndarray], number: int = 1) -> Callable[[Tensors], Tensors]:
    """A tensor of a block changed."""
    return lambda tensors: [(tensor, change(value) if tensor == f"blk.{number}.{name}" else value) for tensor, value in tensors]


def without_tensor(name: str) -> Callable[[Tensors], Tensors]:
    """A tensor left out."""
    return lambda tensors: [(tensor, value) for tensor, value in tensors if tensor != name]


GGUF_FAULTS: dict[str, Callable[[Tensors], Tensors]] = {
    "gate and up swapped": swapped("ffn_gate", "ffn_up"),
    "down of other blocks": renamed(("blk.0.ffn_down", "blk.2.ffn_down")),
    "whole blocks swapped": renamed(*((f"blk.0.{part}", f"blk.2.{part}") for part in PARTS)),
    "gate and up swapped in all": renamed(*((f"blk.{number}.ffn_gate", f"blk.{number}.ffn_up") for number in range(3))),
    "norms swapped in one block": renamed(("blk.1.attn_norm", "blk.1.ffn_norm")),
    "experts' gate and up swapped": swapped("ffn_gate_exps", "ffn_up_exps"),
    "a negative": changed("ssm_a", lambda value: value * 0.5),
    "no output norm": without_tensor("output_norm.weight"),
    "conv reversed": changed("shortconv.conv.weight", lambda value: value[:, ::-1], 2),
    "ssm conv reversed": changed("ssm_conv1d.weight", lambda value: value[:, ::-1]),
}
