"""Finds the tensors in what a module returns or is given: tuples, mappings, dataclasses and caches, with a name for each."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import torch

# Objects inside objects inside ...: deeper ones are not looked into.
MAX_DEPTH = 8
#: Attributes of caches that hold keys and values, and what they are called in a dump.
CACHED = {"keys": "key", "values": "value", "key_cache": "key", "value_cache": "value"}


class Leaf(NamedTuple):
    """A tensor and its place: `path` such as `past_key_values.0.key`, empty for a bare tensor.

    `role` is `cache.key`, `cache.value` or `state` for what outlives the call, else None.
    """

    path: str
    tensor: torch.Tensor
    role: str | None


def leaves(value: Any) -> Iterator[Leaf]:
    """Every tensor in `value`, in order. Objects of other kinds are passed over, except caches, which are looked into."""
    yield from _walk(value, "", None, 0, set())


def is_cache(value: Any) -> bool:
    """True for an object that keeps what a model needs of earlier tokens."""
    if isinstance(value, (torch.Tensor, torch.nn.Module, str, bytes, int, float, type(None), Mapping, list, tuple)):
        return False
    named = any(parent.__name__.endswith("Cache") for parent in type(value).__mro__)
    return named or _is_cache_layer(value)


def _is_cache_layer(value: Any) -> bool:
    return any(isinstance(getattr(value, name, None), torch.Tensor) for name in ("keys", "values")) or any(
        hasattr(value, name) for name in ("conv_states", "recurrent_states", "ssm_states")
    )


def _walk(value: Any, path: str, role: str | None, depth: int, seen: set[int]) -> Iterator[Leaf]:
    if isinstance(value, torch.Tensor):
        yield Leaf(path, value, role)
        return
    if value is None or depth > MAX_DEPTH or isinstance(value, (str, bytes, int, float, torch.nn.Module)) or id(value) in seen:
        return
    seen = seen | {id(value)}
    for name, item, item_role in _items(value, role):
        yield from _walk(item, f"{path}.{name}" if path else name, item_role, depth + 1, seen)


def _items(value: Any, role: str | None) -> Iterator[tuple[str, Any, str | None]]:
    if isinstance(value, Mapping):
        yield from ((_state_name(str(key), role), item, _role(str(key), item, role)) for key, item in value.items())
    elif isinstance(value, tuple) and hasattr(value, "_fields"):
        yield from ((name, item, _role(name, item, role)) for name, item in zip(value._fields, value))
    elif isinstance(value, (list, tuple)):
        yield from ((str(number), item, _role("", item, role)) for number, item in enumerate(value))
    elif is_cache(value):
        yield from _cache_items(value)
    elif dataclasses.is_dataclass(value) and not isinstance(value, type):
        for field in dataclasses.fields(value):
            item = getattr(value, field.name, None)
            yield field.name, item, _role(field.name, item, role)


def _cache_items(cache: Any) -> Iterator[tuple[str, Any, str | None]]:
    """Layers by number; of a layer its keys, values and other tensors."""
    layers = getattr(cache, "layers", None)
    if isinstance(layers, (list, tuple)):
        yield from ((str(number), layer, "state") for number, layer in enumerate(layers))
        return
    for name, item in vars(cache).items():
        if not name.startswith("_") and isinstance(item, (torch.Tensor, list, tuple, dict)) or is_cache(item):
            yield CACHED.get(name, name), item, f"cache.{CACHED[name]}" if name in CACHED else "state"


def _role(name: str, item: Any, role: str | None) -> str | None:
    """What outlives the call: everything inside a cache, and what is called past something."""
    return role or ("state" if name.startswith("past_") or name == "cache_params" or is_cache(item) else None)


def _state_name(name: str, role: str | None) -> str:
    return CACHED.get(name, name) if role is not None else name
