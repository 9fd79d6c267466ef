"""Saves a model as a checkpoint folder in the transformers layout."""

import json
from pathlib import Path

import torch
from safetensors.torch import save_file

from checkpoint import BALANCING, INDEX_FILE, SINGLE_FILE

CONFIG_DTYPES = {torch.float32: "float32", torch.float16: "float16", torch.bfloat16: "bfloat16"}


def round_parameters(model: torch.nn.Module, dtype: torch.dtype) -> None:
    """Rounds every parameter to `dtype` and back, so that the model in memory equals the one that is saved."""
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(parameter.to(dtype).to(parameter.dtype))


def save_checkpoint(model, out: Path, dtype: torch.dtype, shards: int = 1) -> None:
    """Writes config.json, generation_config.json and the weights; balancing biases stay F32.

    More than one shard: `model-0000i-of-0000n.safetensors` with an index, tensors dealt out in turn.
    """
    out.mkdir(parents=True, exist_ok=True)
    tensors = _stored_tensors(model, dtype)
    if shards == 1:
        save_file(tensors, out / SINGLE_FILE, metadata={"format": "pt"})
    else:
        _save_shards(tensors, out, shards)
    # only what ZAYA declares itself: the base class adds dozens of keys that mean nothing here
    own = {*type(model.config).__annotations__, "transformers_version"}
    config = {key: value for key, value in model.config.to_dict().items() if key in own}
    config |= {"architectures": [type(model).__name__], "model_type": "zaya", "dtype": CONFIG_DTYPES[dtype]}
    _write_json(out / "config.json", config)
    ids = {key: config[key] for key in ("pad_token_id", "bos_token_id", "eos_token_id")}
    _write_json(out / "generation_config.json", {"do_sample": False, **ids})


def _stored_tensors(model, dtype: torch.dtype) -> dict[str, torch.Tensor]:
    tied = model.config.tie_word_embeddings
    return {
        name: value.detach().to(torch.float32 if name.endswith(BALANCING) else dtype).contiguous()
        for name, value in model.state_dict().items()
        if not (tied and name == "lm_head.weight")
    }


def _save_shards(tensors: dict[str, torch.Tensor], out: Path, shards: int) -> None:
    names = sorted(tensors)
    files = [f"model-{i + 1:05d}-of-{shards:05d}.safetensors" for i in range(shards)]
    weight_map = {name: files[i % shards] for i, name in enumerate(names)}
    for file in files:
        part = {name: tensors[name] for name in names if weight_map[name] == file}
        save_file(part, out / file, metadata={"format": "pt"})
    total = sum(t.numel() * t.element_size() for t in tensors.values())
    _write_json(out / INDEX_FILE, {"metadata": {"total_size": total}, "weight_map": weight_map})


def _write_json(path: Path, value: dict) -> None:
    path.write_text(json.dumps(value, indent=2, sort_keys=True) + "\n", encoding="utf-8")
