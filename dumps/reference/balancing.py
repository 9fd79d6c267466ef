"""Balancing biases from router probabilities: the expert choice is argmax(p + bias), the skip class is the last one."""

import torch


def target_load(classes: int, skip_share: float) -> torch.Tensor:
    """Share of tokens that each class should get: `skip_share` for the last, the rest evenly."""
    target = torch.full((classes,), (1 - skip_share) / (classes - 1))
    target[-1] = skip_share
    return target


def class_load(chosen: torch.Tensor, classes: int) -> torch.Tensor:
    """Share of tokens that chose each class."""
    return torch.bincount(chosen.reshape(-1), minlength=classes).float() / chosen.numel()


def fit_biases(probs: torch.Tensor, skip_share: float, steps: int = 600) -> torch.Tensor:
    """Zero-mean F32 biases [classes] under which the tokens of `probs` [T, classes] spread as `target_load` says."""
    classes = probs.shape[-1]
    target = target_load(classes, skip_share)
    biases = torch.zeros(classes)
    for step in range(steps):
        load = class_load((probs + biases).argmax(-1), classes)
        biases += 0.3 * (1 - step / steps) * (target - load)
        biases -= biases.mean()
    return biases
