"""Which tokens a call is on: ids, sequences, positions and padding."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from ..errors import DumpError
from .flatten import is_cache, leaves

#: The argument that token ids are taken from where none were given.
IDS, MASK = "input_ids", "attention_mask"
#: Integers that are no ids.
OTHERS = frozenset({MASK, "position_ids", "token_type_ids", "cache_position"})
MAX_ID = 2**31 - 1


@dataclass(frozen=True)
class CallTokens:
    """The tokens of one call: ids [batch, T], which of them are no padding, and where their sequences stand.

    `first` is the number of the first sequence, `start` the position of each sequence's first token that is no padding.
    """

    ids: np.ndarray
    kept: np.ndarray
    first: int
    start: tuple[int, ...]
    kind: str
    #: Whether the ids are the user's, not an argument of the call.
    given: bool = False

    @property
    def batch(self) -> int:
        """Number of sequences."""
        return self.ids.shape[0]

    @property
    def length(self) -> int:
        """Tokens per sequence, padding included."""
        return self.ids.shape[1]


@dataclass
class TokenBook:
    """Finds the tokens of call after call and keeps the sequences that they make.

    `given`: ids of the first call ([T] or [batch, T]; of several calls, all of them), None to take each call's `input_ids`, False for
    none. `follows`: whether a call goes on with the sequences of the one before; None: if it is given a filled cache.
    """

    given: Any = None
    mask: Any = None
    follows: bool | None = None
    sequences: list[list[int]] = field(default_factory=list)
    _argument: str | None = None
    _used: int = 0
    _first: int = 0
    _ids: np.ndarray | None = None
    _is_given: bool = False
    #: What may be wrong with the tokens given, in words.
    doubts: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        if self.given is not None and self.given is not False:
            self._ids = ids_array(self.given, "tokens")

    def expect(self, ids: Any, mask: Any = None) -> None:
        """The ids of the next call."""
        self._doubt_rest()
        self._ids, self._used, self.mask = ids_array(ids, "tokens"), 0, mask

    def call(self, module: torch.nn.Module, args: Sequence[Any], kwargs: Mapping[str, Any]) -> CallTokens | None:
        """The tokens of a call that is about to run; None where it has none."""
        if self.given is False:
            return None
        named = named_arguments(module, args, kwargs)
        ids = self._next_ids(named)
        if ids is None:
            return None
        kept = self._kept(ids, named)
        follows = self.follows if self.follows is not None else has_past(named)
        if follows and len(self.sequences) - self._first != len(ids):
            follows = False
        if not follows:
            self._first = len(self.sequences)
            self.sequences += [[] for _ in ids]
        own = self.sequences[self._first :]
        start = tuple(len(sequence) for sequence in own)
        for sequence, row, keep in zip(own, ids, kept):
            sequence += row[keep].tolist()
        kind = "prefill" if not follows else "decode" if ids.shape[1] == 1 else "chunk"
        return CallTokens(ids, kept, self._first, start, kind, self._is_given)

    def finish(self) -> list[str]:
        """All calls were made: what may be wrong with the tokens given."""
        self._doubt_rest()
        return self.doubts

    def _doubt_rest(self) -> None:
        if self._ids is not None and 0 < self._used < self._ids.shape[1]:
            self.doubts.append(f"the calls used {self._used} of {self._ids.shape[1]} tokens given, no call had those after them")
            self._used = self._ids.shape[1]

    def _next_ids(self, named: Mapping[str, Any]) -> np.ndarray | None:
        self._is_given = False
        if self._ids is not None and self._used < self._ids.shape[1]:
            rest = self._ids[:, self._used :]
            for name, value in named.items():
                part = _integers(value)
                if part is None or part.shape[0] != rest.shape[0] or not 0 < part.shape[1] <= rest.shape[1]:
                    continue
                if name == self._argument or (self._argument is None and np.array_equal(part, rest[:, : part.shape[1]])):
                    self._argument = name
                    self._used += part.shape[1]
                    return part
            if self._used == 0:
                self._check_given(rest, named)
                self._is_given = True
                self._used = self._ids.shape[1]
                return rest
        return _integers(named.get(self._argument or IDS))

    def _check_given(self, given: np.ndarray, named: Mapping[str, Any]) -> None:
        """Given ids that no argument of the call begins. An error where the call has other tokens for sure, else a doubt."""
        parts = {name: part for name, value in named.items() if name not in OTHERS and (part := _ids_of(value)) is not None}
        if not parts:
            return
        fitting = [part for part in parts.values() if part.size == given.size]
        name = IDS if IDS in parts else next(iter(parts))
        got = f"got tokens {_shown(given)} where {name} is {_shown(parts[name])}"
        others = (leaf for key, value in named.items() if key != MASK for leaf in leaves({key: value}))
        only = all(leaf.role is not None or not leaf.tensor.is_floating_point() for leaf in others)
        if IDS in parts or (only and not fitting):
            raise DumpError(f"capture: expected tokens that are the call's own (of several calls: all of them), {got}")
        if only and not any(np.array_equal(part.ravel(), ids.ravel()) for part in fitting for ids in (given, given.T)):
            self.doubts.append(f"tokens are no argument of the call: {got}")

    def _kept(self, ids: np.ndarray, named: Mapping[str, Any]) -> np.ndarray:
        mask = named.get(MASK) if self.mask is None else self.mask
        mask = _integers(mask, floats=True)
        if mask is None or mask.shape[0] != len(ids) or mask.shape[1] < ids.shape[1]:
            return np.ones(ids.shape, bool)
        return mask[:, mask.shape[1] - ids.shape[1] :] != 0


def ids_array(given: Any, what: str) -> np.ndarray:
    """Token ids as int64 [batch, T]. DumpError for anything else, such as sequences of different lengths."""
    try:
        ids = given.detach().cpu().numpy() if isinstance(given, torch.Tensor) else np.asarray(given)
    except ValueError as error:
        raise DumpError(f"capture: expected {what} of one length (padded, with an attention_mask), got {error}") from error
    if ids.ndim == 1:
        ids = ids[None]
    if ids.ndim != 2 or ids.dtype.kind not in "iu" or ids.size == 0:
        raise DumpError(f"capture: expected {what} as integers [T] or [batch, T], got {list(ids.shape)} of {ids.dtype}")
    if ids.min() < 0 or ids.max() > MAX_ID:
        raise DumpError(f"capture: expected {what} from 0 to {MAX_ID}, got {ids.min() if ids.min() < 0 else ids.max()}")
    return ids.astype(np.int64)


def _ids_of(value: Any) -> np.ndarray | None:
    is_bool = isinstance(value, (torch.Tensor, np.ndarray)) and value.dtype in (torch.bool, np.bool_)
    return None if is_bool else _integers(value)


def _shown(ids: np.ndarray) -> str:
    first = ", ".join(map(str, ids.ravel()[:5]))
    return f"{first}{' ..' if ids.size > 5 else ''} of shape {list(ids.shape)}"


def storable(sequences: Sequence[Sequence[int]]) -> bool:
    """True if the format can hold all ids: numbers from 0 that fit 32 bits."""
    return all(0 <= token <= MAX_ID for sequence in sequences for token in sequence)


def named_arguments(module: torch.nn.Module, args: Sequence[Any], kwargs: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments of a call by name; positional ones beyond the signature by number."""
    try:
        bound = inspect.signature(module.forward).bind_partial(*args, **kwargs).arguments
    except (TypeError, ValueError):
        bound = {**{str(number): value for number, value in enumerate(args)}, **kwargs}
    named: dict[str, Any] = {}
    for name, value in bound.items():
        if isinstance(value, tuple) and name == "args":
            named |= {f"args.{number}": item for number, item in enumerate(value)}
        elif isinstance(value, dict) and name == "kwargs":
            named |= value
        else:
            named[name] = value
    return named


def has_past(named: Mapping[str, Any]) -> bool:
    """True if a call is given a cache that holds something."""
    for name, value in named.items():
        if is_cache(value) and hasattr(value, "get_seq_length"):
            try:
                if int(value.get_seq_length()) > 0:
                    return True
                continue
            except (ValueError, TypeError, AttributeError, IndexError):
                pass
        if is_cache(value) or name.startswith("past_"):
            if any(leaf.tensor.numel() > 0 for leaf in leaves({name: value})):
                return True
    return False


def _integers(value: Any, floats: bool = False) -> np.ndarray | None:
    """A tensor or array of integers [batch, T] or [T], as NumPy."""
    if isinstance(value, torch.Tensor):
        if value.ndim not in (1, 2) or (value.is_floating_point() and not floats) or value.is_complex() or value.is_meta:
            return None
        try:
            value = value.detach().cpu()
            value = (value.float() if value.is_floating_point() else value.to(torch.int64)).numpy()
        except (RuntimeError, NotImplementedError, TypeError):
            return None  # sparse, nested, or inside torch.func
    elif not (isinstance(value, np.ndarray) and value.ndim in (1, 2) and value.dtype.kind in ("iubf" if floats else "iu")):
        return None
    value = value[None] if value.ndim == 1 else value
    return value if value.size > 0 else None
