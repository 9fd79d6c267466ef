"""A checkpoint folder of safetensors: its tensors, and its identity as the dump format defines it."""

from __future__ import annotations

import hashlib
import json
import struct
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .errors import DumpError

SINGLE_FILE = "model.safetensors"
INDEX_FILE = "model.safetensors.index.json"
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


def read_config(model: Path) -> dict[str, Any]:
    """The parsed config.json."""
    path = model / "config.json"
    if not path.is_file():
        raise DumpError(f"open checkpoint: expected a config.json, found none in {model}")
    config = json.loads(path.read_text())
    if not isinstance(config, dict):
        raise DumpError(f"open checkpoint: expected an object in {path}")
    return config


def read_headers(model: Path) -> dict[str, StoredTensor]:
    """Every tensor of the checkpoint, all shards together, by name."""
    tensors: dict[str, StoredTensor] = {}
    for path in weight_files(model):
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


def weights_sha256(tensors: Mapping[str, StoredTensor]) -> str:
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


def stored_dtype(tensors: Mapping[str, StoredTensor]) -> str:
    """The dtype of most matmul weights, as safetensors spells it."""
    counts = Counter(tensor.dtype for tensor in tensors.values() if len(tensor.shape) == 2)
    return (counts or Counter(tensor.dtype for tensor in tensors.values())).most_common(1)[0][0]


def weight_files(model: Path) -> list[Path]:
    """The safetensors files of a checkpoint. DumpError where one is missing."""
    index = model / INDEX_FILE
    if index.is_file():
        names = sorted(set(json.loads(index.read_text())["weight_map"].values()))
    else:
        names = [SINGLE_FILE]
    for name in names:
        if not (model / name).is_file():
            raise DumpError(f"open checkpoint: expected {name}, found no such file in {model}")
    return [model / name for name in names]


def identity(model: Path) -> dict[str, Any]:
    """What a manifest says of a checkpoint folder; the weights' part only where they are safetensors."""
    config = read_config(model)
    # some tools leave the folder that a model was saved from
    shown = {key: value for key, value in config.items() if key != "_name_or_path"}
    found: dict[str, Any] = {"name": model.resolve().name}
    if isinstance(config.get("model_type"), str):
        found["type"] = config["model_type"]
    found |= {"config": shown, "configSha256": hashlib.sha256((model / "config.json").read_bytes()).hexdigest()}
    if (model / INDEX_FILE).is_file() or (model / SINGLE_FILE).is_file():
        tensors = read_headers(model)
        if tensors:
            found |= {"weightsSha256": weights_sha256(tensors), "dtype": stored_dtype(tensors)}
    return found
