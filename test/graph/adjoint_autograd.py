"""Gradients of operations by PyTorch's autograd, in double precision.

Reads a JSON list of cases, each with the shapes and values of its operands, an expression over them and the
seed of its result, and prints the gradients of the operands in the same order.
"""

import json
import sys

import torch
import torch.nn.functional as F


def tensor(values: dict) -> torch.Tensor:
    return torch.tensor(values["data"], dtype=torch.float64).reshape(values["shape"])


def rotated(x: torch.Tensor, positions: torch.Tensor, dims: int, base: float) -> torch.Tensor:
    """Rotary embedding, neox form, on the first dimensions."""
    half = dims // 2
    angles = positions[:, None, None] * base ** (-torch.arange(half, dtype=torch.float64) / half)
    low, high, rest = x[..., :half], x[..., half:dims], x[..., dims:]
    cos, sin = angles.cos(), angles.sin()
    return torch.cat([low * cos - high * sin, low * sin + high * cos, rest], -1)


def gradients(case: dict) -> list[list[float]]:
    x = [tensor(each).requires_grad_() for each in case["x"]]
    ids = torch.tensor(case["ids"]["data"]).reshape(case["ids"]["shape"])
    names = {"torch": torch, "F": F, "rotated": rotated, "x": x, "ids": ids, "w": tensor(case["w"])}
    result = eval(case["torch"], names)
    found = torch.autograd.grad(result, x, torch.tensor(case["seed"], dtype=torch.float64).reshape(result.shape))
    return [each.flatten().tolist() for each in found]


print(json.dumps([gradients(case) for case in json.load(sys.stdin)]))
