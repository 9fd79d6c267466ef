"""What a module says about itself: its blocks, its identity, whether it can be watched."""

from __future__ import annotations

import platform
from pathlib import PurePath
from typing import Any

import torch

from ..format.dtypes import torch_dtype_name
from ..errors import DumpError

#: Names of lists of decoder blocks.
BLOCK_LISTS = ("layers", "blocks", "h")


def check_compiled(model: torch.nn.Module) -> None:
    """Refuses compiled and scripted modules: their inner modules do not run one by one."""
    for name, module in model.named_modules():
        where = f"module {name}" if name else "the model"
        if hasattr(module, "_orig_mod") or getattr(module, "_compiled_call_impl", None) is not None:
            raise DumpError(f"capture: expected an eager module, got torch.compile in {where}: capture the module before it is compiled")
        if isinstance(module, torch.jit.ScriptModule):
            raise DumpError(f"capture: expected an eager module, got a scripted one in {where}")


def block_list(model: torch.nn.Module) -> str | None:
    """Path of the list of decoder blocks, if there is just one (lists inside blocks do not count); None otherwise."""
    found: list[str] = []
    for name, module in model.named_modules():
        if name.rpartition(".")[2] in BLOCK_LISTS and isinstance(module, (torch.nn.ModuleList, torch.nn.Sequential)) and len(module) > 0:
            if not any(name.startswith(f"{outer}.") for outer in found):
                found.append(name)
    return found[0] if len(found) == 1 else None


def has_forward(module: torch.nn.Module) -> bool:
    """False for containers that are never called, such as ModuleList."""
    return type(module).forward is not torch.nn.Module.forward if hasattr(type(module), "forward") else False


def vocabulary(model: torch.nn.Module) -> int | None:
    """Size of the vocabulary, where the model's config says it."""
    config: Any = getattr(model, "config", None)
    if hasattr(config, "get_text_config"):
        config = config.get_text_config()
    size = getattr(config, "vocab_size", None)
    return size if isinstance(size, int) else None


def is_language_model(model: torch.nn.Module) -> bool:
    """True for a model with a config of transformers that has a vocabulary: its blocks return the residual stream."""
    return vocabulary(model) is not None and isinstance(getattr(model.config, "model_type", None), str)


def model_dtype(model: torch.nn.Module) -> str | None:
    """The dtype of most parameters; None for a module without any, or of a dtype that the format has no name for."""
    sizes: dict[str, int] = {}
    for parameter in model.parameters():
        name = torch_dtype_name(parameter.dtype)
        if name is not None:
            sizes[name] = sizes.get(name, 0) + parameter.numel()
    return max(sizes, key=lambda name: sizes[name]) if sizes else None


def identity(model: torch.nn.Module) -> dict[str, Any]:
    """What the manifest says of the model: `name`, and `type` and `dtype` where known. Never a path."""
    config: Any = getattr(model, "config", None)
    path = getattr(config, "_name_or_path", "") or ""
    found: dict[str, Any] = {"name": PurePath(path).name or type(model).__name__}
    kind = getattr(config, "model_type", None)
    if isinstance(kind, str) and kind:
        found["type"] = kind
    dtype = model_dtype(model)
    return found if dtype is None else found | {"dtype": dtype}


def device_of(model: torch.nn.Module) -> torch.device:
    """Where the first parameter or buffer lies; the CPU for a module without any."""
    first = next(iter(model.parameters()), None)
    if first is None:
        first = next(iter(model.buffers()), None)
    return torch.device("cpu") if first is None else first.device


def device_name(device: torch.device) -> str:
    """What the device calls itself."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"{platform.machine()} {torch.backends.cpu.get_cpu_capability()}" if device.type == "cpu" else device.type
