"""A checkpoint folder in the transformers layout: identity, and loading it exactly as it is stored."""

import os
from pathlib import Path

os.environ.setdefault("HF_HUB_OFFLINE", "1")  # a folder is all that is read; never ask a hub about it

import torch
from safetensors import safe_open
from transformers import PreTrainedModel
from transformers.utils import logging

from errors import DumpError
from families import FAMILIES
from zayascope import checkpoint
from zayascope.checkpoint import INDEX_FILE, SINGLE_FILE, StoredTensor, read_headers, stored_dtype, weights_sha256

__all__ = ["INDEX_FILE", "SINGLE_FILE", "StoredTensor", "read_headers", "stored_dtype", "weights_sha256"]

BALANCING = "balancing_biases"
# The implementations that compute step by step, so that every value has a name.
IMPLEMENTATIONS = {"attn_implementation": "eager", "experts_implementation": "eager"}


def read_config(model: Path) -> dict:
    """The parsed config.json; it must say that the model is of a known family."""
    config = checkpoint.read_config(model)
    if config.get("model_type") not in FAMILIES:
        known = " or ".join(map(repr, FAMILIES))
        raise DumpError(f"open checkpoint: expected model_type {known}, got {config.get('model_type')!r} in {model / 'config.json'}")
    return config


def load_model(model: Path, dtype: torch.dtype, tensors: dict[str, StoredTensor]) -> PreTrainedModel:
    """The unmodified model with eager attention and experts, every value equal to the file after the cast to `dtype`.

    transformers 5.18 sets the last balancing bias of every router to -1 while it loads, so all tensors are copied again
    from the files, and then compared. Balancing biases are F32 in the model whatever `dtype` is.
    """
    logging.disable_progress_bar()
    family = FAMILIES[read_config(model)["model_type"]]
    net = family.model.from_pretrained(model, dtype=dtype, **IMPLEMENTATIONS)
    net.eval()
    check_names(net, tensors, model)
    state = family.targets(net.state_dict())
    for path in {tensor.file for tensor in tensors.values()}:
        with safe_open(path, framework="pt") as file, torch.no_grad():
            for name in file.keys():
                copy_exactly(name, state[name], file.get_tensor(name))
    return net


def check_names(net: PreTrainedModel, tensors: dict[str, StoredTensor], model: Path) -> None:
    """Refuses a checkpoint that lacks a tensor of the model or holds another one."""
    names = FAMILIES[net.config.model_type].targets(net.state_dict()).keys()
    tied = set() if not net.config.tie_word_embeddings else {"lm_head.weight"}
    missing, extra = names - tensors.keys() - tied, tensors.keys() - names
    if missing or extra:
        raise DumpError(
            "load checkpoint: expected exactly the model's tensors, "
            f"missing {sorted(missing)[:5]}, unknown {sorted(extra)[:5]} in {model}"
        )


def copy_exactly(name: str, target: torch.Tensor, stored: torch.Tensor) -> None:
    """Copies a stored tensor into the model's and compares the two; the shape must fit, and balancing biases must be F32."""
    if name.endswith(BALANCING) and target.dtype != torch.float32:
        raise DumpError(f"load checkpoint: expected {name} to stay float32, got {target.dtype}")
    if stored.shape != target.shape:
        raise DumpError(f"load checkpoint: expected shape {list(target.shape)}, got {list(stored.shape)} for {name}")
    target.copy_(stored)
    if not torch.equal(target, stored.to(target.dtype)):
        raise DumpError(f"load checkpoint: expected {name} to equal the file after loading, it does not (or holds NaN)")
