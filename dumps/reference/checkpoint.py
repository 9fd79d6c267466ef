"""A checkpoint folder in the transformers layout: identity, and loading it exactly as it is stored."""

import hashlib
import json
import os
import struct
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

os.environ.setdefault("HF_HUB_OFFLINE", "1")  # a folder is all that is read; never ask a hub about it

import torch
from safetensors import safe_open
from transformers import ZayaForCausalLM
from transformers.utils import logging

from errors import DumpError

SINGLE_FILE = "model.safetensors"
INDEX_FILE = "model.safetensors.index.json"
BALANCING = "balancing_biases"
# The implementations that compute step by step, so that every value has a name.
IMPLEMENTATIONS = {"attn_implementation": "eager", "experts_implementation": "eager"}
# Bytes from each end of a large tensor that enter the identity hash; smaller tensors enter whole.
HASHED_BYTES = 32768


@dataclass(frozen=True)
class StoredTensor:
    """A tensor as a safetensors header describes it; `start` and `end` are absolute file offsets."""

    file: Path
    dtype: str
    shape: tuple[int, ...]
    start: int
    end: int


def read_config(model: Path) -> dict:
    """The parsed config.json; it must say that the model is a ZAYA."""
    path = model / "config.json"
    if not path.is_file():
        raise DumpError(f"open checkpoint: expected a config.json, found none in {model}")
    config = json.loads(path.read_text())
    if config.get("model_type") != "zaya":
        raise DumpError(f"open checkpoint: expected model_type 'zaya', got {config.get('model_type')!r} in {path}")
    return config


def read_headers(model: Path) -> dict[str, StoredTensor]:
    """Every tensor of the checkpoint, all shards together, by name."""
    tensors: dict[str, StoredTensor] = {}
    for path in _weight_files(model):
        size = path.stat().st_size
        with path.open("rb") as file:
            prefix = file.read(8)
            length = struct.unpack("<Q", prefix)[0] if len(prefix) == 8 else size
            if 8 + length > size:
                raise DumpError(f"open checkpoint: expected a safetensors header, the file is truncated: {path}")
            header = json.loads(file.read(length))
        for name, entry in header.items():
            if name != "__metadata__":
                start, end = (8 + length + offset for offset in entry["data_offsets"])
                if end > size:
                    raise DumpError(f"open checkpoint: expected {end} bytes for {name}, got {size}: {path} is truncated")
                tensors[name] = StoredTensor(path, entry["dtype"], tuple(entry["shape"]), start, end)
    return tensors


def weights_sha256(tensors: dict[str, StoredTensor]) -> str:
    """Identity of the weights: names, dtypes, shapes and both ends of each tensor's data, in byte order of the names."""
    digest = hashlib.sha256()
    for name in sorted(tensors, key=lambda n: n.encode()):
        tensor = tensors[name]
        shape = ",".join(str(size) for size in tensor.shape)
        digest.update(f"{name}\0{tensor.dtype}\0{shape}\0".encode())
        length = tensor.end - tensor.start
        with tensor.file.open("rb") as file:
            file.seek(tensor.start)
            if length <= 2 * HASHED_BYTES:
                digest.update(file.read(length))
            else:
                digest.update(file.read(HASHED_BYTES))
                file.seek(tensor.end - HASHED_BYTES)
                digest.update(file.read(HASHED_BYTES))
    return digest.hexdigest()


def stored_dtype(tensors: dict[str, StoredTensor]) -> str:
    """The dtype of most matmul weights, as safetensors spells it."""
    return Counter(t.dtype for t in tensors.values() if len(t.shape) == 2).most_common(1)[0][0]


def load_model(model: Path, dtype: torch.dtype, tensors: dict[str, StoredTensor]) -> ZayaForCausalLM:
    """Unmodified `ZayaForCausalLM` with eager attention and experts, every value equal to the file after the cast to `dtype`.

    transformers 5.18 sets the last balancing bias of every router to -1 while it loads, so all tensors are copied again
    from the files, and then compared. Balancing biases are F32 in the model whatever `dtype` is.
    """
    logging.disable_progress_bar()
    net = ZayaForCausalLM.from_pretrained(model, dtype=dtype, **IMPLEMENTATIONS)
    net.eval()
    check_names(net, tensors, model)
    state = net.state_dict()
    for path in {tensor.file for tensor in tensors.values()}:
        with safe_open(path, framework="pt") as file, torch.no_grad():
            for name in file.keys():
                copy_exactly(name, state[name], file.get_tensor(name))
    return net


def check_names(net: ZayaForCausalLM, tensors: dict[str, StoredTensor], model: Path) -> None:
    """Refuses a checkpoint that lacks a tensor of the model or holds another one."""
    names = net.state_dict().keys()
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


def _weight_files(model: Path) -> list[Path]:
    index = model / INDEX_FILE
    if index.is_file():
        names = sorted(set(json.loads(index.read_text())["weight_map"].values()))
    else:
        names = [SINGLE_FILE]
    for name in names:
        if not (model / name).is_file():
            raise DumpError(f"open checkpoint: expected {name}, found no such file in {model}")
    return [model / name for name in names]
