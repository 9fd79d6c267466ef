"""Rows of a file against the manifest: neither may contradict the other. `src/dump/claims/rows.ts` checks the same."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ..errors import DumpError
from .columns import TapSpec
from .pattern import parse_positions


def row_fault(manifest: Mapping[str, Any], taps: Sequence[TapSpec], rows: Mapping[str, np.ndarray]) -> str | None:
    """What was expected and what came, or None.

    Sequences, positions, token ids and steps that the manifest does not have; of a complete dump also positions and steps that it has
    and the rows lack. What a partial dump and a recording lack is no fault, and neither is a value that may be missing.
    """
    sequence, position, token, step = (rows[name].astype(np.int64) for name in ("sequence", "position", "token_id", "step"))
    lengths = [_length(one) for one in manifest["sequences"]]
    complete = manifest["status"] == "complete"
    graph = "graph" in manifest
    found = _first((sequence < 0) | (sequence >= len(lengths)))
    if found is not None:
        return f"rows of the manifest's {len(lengths)} sequences, got one of sequence {sequence[found]} (row {found})"
    for number, one in enumerate(manifest["sequences"]):
        own = np.flatnonzero(sequence == number)
        at, length = position[own], lengths[number]
        if one.get("tokens") is not None:
            known = (at >= 0) & (at < length)
            ids = np.asarray(one["tokens"], np.int64)
            wrong = _first(ids[at[known]] != token[own][known])
            if wrong is not None:
                row = own[known][wrong]
                wanted = f"token {ids[position[row]]} at position {position[row]} of sequence {number}, as the manifest says"
                return f"{wanted}, got {token[row]} (row {row})"
        if not complete:
            continue
        outside = _first((at < 0) | (at >= length))
        if outside is not None:
            return f"positions within the {length} that the manifest gives sequence {number}, got {at[outside]} (row {own[outside]})"
        wanted = _selected(manifest, length)
        last = _positions(manifest) == "last"
        if not (graph or last or any(tap.nullable for tap in taps)):
            more = _first((at < wanted.start) | (at >= wanted.stop))
            if more is not None:
                return f"positions {_positions(manifest)}, as the manifest's selection says, got position {at[more]} of sequence {number}"
    if not complete:
        return None
    steps = manifest.get("steps")
    if type(steps) is not int:
        return f"a number of steps in the manifest, got {steps!r}"
    late = _first((step < 0) | (step >= steps))
    if late is not None:
        return f"steps below {steps}, as the manifest says, got step {step[late]} (row {late})"
    # A recording may have been made of some calls of a long-lived program.
    if graph or not any(tap.scope == "token" and not tap.nullable for tap in taps):
        return None
    for number, length in enumerate(lengths):
        wanted = _selected(manifest, length)
        # Of more than there are rows one is missing among the first of them.
        there = np.zeros(max(0, min(wanted.stop - wanted.start, len(position) + 1)), bool)
        at = position[sequence == number] - wanted.start
        there[at[(at >= 0) & (at < len(there))]] = True
        gap = _first(~there)
        if gap is not None:
            missing = f"a row for position {wanted.start + gap} of sequence {number}, which the manifest gives {length} positions"
            return f"{missing}, in a complete dump, got none among {len(position)} rows"
    if _positions(manifest) == "all" and int(step.max(initial=-1)) + 1 < steps:
        return f"rows of {steps} steps, as the manifest says, got rows of {int(step.max(initial=-1)) + 1}"
    return None


def _first(wrong: np.ndarray) -> int | None:
    return int(wrong.argmax()) if wrong.any() else None


def _length(sequence: Any) -> int:
    tokens, length = (sequence.get("tokens"), sequence.get("length", 0)) if isinstance(sequence, dict) else (None, None)
    if tokens is not None:
        length = len(tokens) if isinstance(tokens, list) and all(type(one) is int for one in tokens) else None
    if type(length) is not int or length < 0:
        raise DumpError(f"open dump: expected sequences with token ids or a length, got {str(sequence)[:80]}")
    return length


def _positions(manifest: Mapping[str, Any]) -> str:
    selection = manifest.get("selection")
    found = selection.get("positions") if isinstance(selection, dict) else None
    return found.strip() if isinstance(found, str) else ""


def _selected(manifest: Mapping[str, Any], length: int) -> range:
    """The positions that must be there; none of a selection that no reader of this version understands."""
    try:
        return parse_positions(_positions(manifest), length)
    except ValueError:
        return range(0)
