"""Runs a causal language model of transformers from a folder, and records it."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

os.environ.setdefault("HF_HUB_OFFLINE", "1")  # a folder is all that is read; never ask a hub about it

import torch
import transformers
from safetensors import safe_open
from transformers.utils import logging

from ..checkpoint import INDEX_FILE, SINGLE_FILE, identity, weight_files
from ..errors import DumpError
from ..recording.capture import capture
from ..recording.flatten import is_cache
from ..version import VERSION

#: Attention probabilities of eager attention are [batch, heads, queries, keys] in transformers: the queries are the call's tokens.
ATTENTION = {"**.self_attn.1,**:attn_weights*,**:eager_attention_forward.attn_weights*": 2}


@dataclass(frozen=True)
class Request:
    """What to run and record. `inside`: None for modules only, "" for the model's own source, else a text in module names."""

    model: Path
    out: Path
    tokens: list[int]
    dtype: str = "float32"
    taps: str = "**"
    inside: str | None = None
    decode: int = 0
    device: str = "cpu"
    overwrite: bool = False
    verify: bool = True
    edges: str = "functions"


@dataclass(frozen=True)
class Outcome:
    """What was recorded."""

    taps: int
    tokens: int
    steps: int
    ambiguous: list[str]
    not_loaded: list[str]
    set_back: list[str]


def prompt_tokens(model: Path, prompt: str) -> list[int]:
    """Ids of a prompt through the model's own tokenizer, with the special tokens that it adds."""
    tokenizer = transformers.AutoTokenizer.from_pretrained(model, local_files_only=True)
    ids = tokenizer(prompt)["input_ids"]
    if not ids:
        raise DumpError("tokens: expected at least one token, the prompt gives none")
    return [int(token) for token in ids]


def record(request: Request) -> Outcome:
    """Runs the model (twice with `verify`: first without being watched) and writes the dump.

    DumpError where weights are missing, or the watched run does not give the logits of the other bit for bit.
    """
    info = identity(request.model)
    model, unused, set_back = load_model(request.model, request.dtype, request.device)
    _check_ids(request.tokens, model.config)
    unwatched = _run(model, request) if request.verify else None
    command = f"python -m zayascope dump --model {info['name']} --dtype {request.dtype} --taps {request.taps}"
    producer = {
        "name": "transformers",
        "version": transformers.__version__,
        "zayascope": VERSION,
        "attention": "eager",
        "logitsEqualUnwatched": unwatched is not None,
        "command": command + (f" --decode {request.decode}" if request.decode else ""),
    }
    inside = type(model).__module__ if request.inside == "" else request.inside
    with capture(
        model,
        request.out,
        request.taps,
        inside=inside,
        token_axis=ATTENTION,
        roles={"attention.weights": "**.self_attn.1"},
        edges=request.edges,
        overwrite=request.overwrite,
        model_info=info,
        producer=producer,
        policy=f"transformers-{request.dtype}",
    ) as run:
        watched = _run(model, request)
        if unwatched is not None and not all(_bit_equal(a, b) for a, b in zip(unwatched, watched, strict=True)):
            raise DumpError("dump: expected the watched run to give the logits of an unwatched run bit for bit, it did not")
    return Outcome(len(run.taps), len(request.tokens), run.steps, run.ambiguous, unused, set_back)


def load_model(folder: Path, dtype: str, device: str) -> tuple[torch.nn.Module, list[str], list[str]]:
    """`AutoModelForCausalLM` with eager attention and experts, the names in the files that it has no use for, and tensors set back."""
    logging.disable_progress_bar()
    options: dict[str, Any] = {"dtype": getattr(torch, dtype), "attn_implementation": "eager", "experts_implementation": "eager"}
    try:
        model, loaded = transformers.AutoModelForCausalLM.from_pretrained(
            folder, local_files_only=True, output_loading_info=True, **options
        )
    except (ValueError, OSError, KeyError) as error:
        raise DumpError(f"load checkpoint: expected a causal language model, got {error} in {folder}") from error
    for key in ("missing_keys", "mismatched_keys"):
        if loaded.get(key):
            raise DumpError(f"load checkpoint: expected every tensor of the model, {key.replace('_', ' ')} {sorted(map(str, loaded[key]))[:5]} in {folder}")
    set_back = _set_back(model, folder)
    return model.eval().to(device), sorted(map(str, loaded.get("unexpected_keys", ()))), set_back


def _set_back(model: torch.nn.Module, folder: Path) -> list[str]:
    """Copies tensors from the files again where loading changed them: some model classes overwrite a value after they have read it.

    Tensors that the model names or shapes otherwise than the file does are left as they are.
    """
    changed: list[str] = []
    state = model.state_dict()
    files = weight_files(folder) if any((folder / name).is_file() for name in (SINGLE_FILE, INDEX_FILE)) else []
    for path in files:
        with safe_open(path, framework="pt") as file, torch.no_grad():
            for name in file.keys():
                if name not in state or tuple(file.get_slice(name).get_shape()) != tuple(state[name].shape):
                    continue
                stored = file.get_tensor(name).to(state[name].dtype)
                if not torch.equal(stored, state[name]) and not stored.isnan().any():
                    state[name].copy_(stored)
                    changed.append(name)
    return changed


def _run(model: torch.nn.Module, request: Request) -> list[torch.Tensor]:
    """The logits of the prompt, and of `decode` greedy steps through the cache."""
    ids = torch.tensor([request.tokens], device=request.device)
    with torch.no_grad():
        output = model(input_ids=ids, use_cache=request.decode > 0)
        logits = [output.logits]
        for _ in range(request.decode):
            cache = {name: value for name, value in output.items() if is_cache(value)}
            if not cache:
                raise DumpError("dump: expected a model that returns a cache for --decode, it does not")
            output = model(input_ids=output.logits[:, -1:].argmax(-1), use_cache=True, **cache)
            logits.append(output.logits)
    return logits


def _check_ids(tokens: list[int], config: Any) -> None:
    size = getattr(config.get_text_config() if hasattr(config, "get_text_config") else config, "vocab_size", None)
    for position, token in enumerate(tokens):
        if isinstance(size, int) and not 0 <= token < size:
            raise DumpError(f"tokens: expected ids from 0 to {size - 1}, got {token} at position {position}")


def _bit_equal(a: torch.Tensor, b: torch.Tensor) -> bool:
    return a.dtype == b.dtype and torch.equal(a.contiguous().view(torch.uint8), b.contiguous().view(torch.uint8))
