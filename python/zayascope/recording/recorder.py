"""Collects the values of one call after another and writes each call when it ends."""

from __future__ import annotations

import re
import time
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from .call_tokens import CallTokens, TokenBook, named_arguments, storable
from ..format.columns import Cells, step_cells, token_cells
from ..format.dtypes import storage_array, torch_dtype_name
from ..errors import DumpError
from .flatten import Leaf
from .layout import Layout, find_layout
from ..format.names import check_name
from ..format.pattern import Pattern, compile_pattern
from .spool import Spool
from .storages import Storages
from .tap_book import Seen, TapBook
from ..format.writer import DumpWriter, RowIndex

#: The manifest is written anew at most this often (seconds) while no tap is new.
MANIFEST_SECONDS = 0.5


class Recorder:
    """Takes values by name, in order of execution, between `begin` and `end` of each call."""

    def __init__(
        self,
        out: Path,
        description: Mapping[str, Any],
        pattern: Pattern,
        tokens: TokenBook,
        blocks: str | None,
        token_axis: Mapping[str, int],
        vocabulary: int | None,
        with_edges: bool,
    ) -> None:
        self._writer = DumpWriter(out, {**description, "sequences": [], "order": "execution"})
        self._pattern = pattern
        self._tokens = tokens
        self._block = None if blocks is None else re.compile(rf"{re.escape(blocks)}\.(0|[1-9][0-9]{{0,5}})(?![^.:#])")
        self._axes = [(compile_pattern(names), axis) for names, axis in token_axis.items()]
        self._vocabulary = vocabulary
        self._with_edges = with_edges
        self._book = TapBook()
        self._spool = Spool(out)
        self._seen: list[Seen] = []
        self._counts: Counter[str] = Counter()
        self._used: set[str] = set()
        self._call: CallTokens | None = None
        self._kept_logits = 0
        self._edges: set[tuple[str, str]] = set()
        self._call_edges: set[tuple[str, str]] = set()
        self._calls: list[dict[str, Any]] = []
        self._loose: list[int] = []
        self._loose_sequence: int | None = None
        self._blocks_written: set[int | None] = set()
        self._written = 0.0
        self.storages = Storages()
        #: Tap names by role, as far as values tell.
        self.roles: dict[str, list[str]] = {}
        #: Values that could not be recorded, and why.
        self.refused: dict[str, str] = {}
        #: Taps whose token axis could be either of two: recorded as one value per step.
        self.open: set[str] = set()
        self.steps = 0
        #: Given tokens of calls of which no value has an axis for them: [batch, T] of the first such call.
        self.unfit: tuple[int, int] | None = None

    @property
    def names(self) -> list[str]:
        """All taps so far, in order."""
        return self._book.order

    def wants(self, name: str) -> bool:
        """True if the selection holds this name."""
        return self._pattern.fullmatch(name)

    def begin(self, module: torch.nn.Module, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
        """A call of the outermost module starts."""
        self._forget()
        self._call = self._tokens.call(module, args, kwargs)
        named = named_arguments(module, args, kwargs)
        kept = named.get("logits_to_keep", named.get("num_logits_to_keep", 0))
        self._kept_logits = kept if type(kept) is int else 0

    def number(self, name: str) -> str:
        """The name for its next value in this call: `name`, then `name#2`, `name#3`."""
        self._counts[name] += 1
        count = self._counts[name]
        return name if count == 1 else f"{name}#{count}"

    def unique(self, name: str) -> str:
        """The name itself, or, where this call has it already, with a number."""
        number, found = 1, name
        while found in self._used:
            number += 1
            found = f"{name}#{number}"
        self._used.add(found)
        return found

    def value(self, name: str, leaf: Leaf, module: torch.nn.Module | None, inputs: frozenset[str], wanted: bool) -> None:
        """One tensor: recorded if `wanted`. `inputs` are the values that went into it, `module` is what returned it.

        A kind of tensor that nobody thought of is listed as refused: the user's call goes on.
        """
        try:
            self._value(name, leaf, module, inputs, wanted)
        except (RuntimeError, NotImplementedError, TypeError, AttributeError) as error:
            lines = str(error).strip().splitlines() or [type(error).__name__]
            self.refused[name] = f"it cannot be read ({lines[0]})"

    def _value(self, name: str, leaf: Leaf, module: torch.nn.Module | None, inputs: frozenset[str], wanted: bool) -> None:
        tensor = leaf.tensor
        before = self.storages.find(tensor)
        came_from = inputs if before is None else inputs | before.sources
        if not wanted or not self._can_hold(name, tensor):
            self.storages.add(tensor, before.sources if before is not None else inputs)
            return
        check_name(name, "capture")
        layout, at = self._layout(name, leaf, module)
        shown = torch.view_as_real(tensor.resolve_conj().resolve_neg()) if tensor.is_complex() else tensor
        values = storage_array(shown)
        owned = values.nbytes > 0 and values.ctypes.data != shown.data_ptr()
        dtype = torch_dtype_name(shown.dtype)
        assert dtype is not None
        self._seen.append(Seen(name, self._spool.keep(values, owned), dtype, layout, leaf.role, at))
        if self._with_edges:
            self._call_edges |= {(source, name) for source in came_from if source != name}
        self.storages.add(tensor, frozenset({name}), layout if at is None else None)

    def end(self) -> None:
        """The call has ended: writes what was seen."""
        seen, call = self._seen, self._call
        step = self.steps
        if not seen:
            self._forget()
            self.steps += 1 if call is not None else 0
            return
        known = self._book.names()
        before = self._book.specs()
        shaped = [(value, self._block_of(value.name), self._row_shape(value)) for value in seen]
        names = self._book.admit(shaped)
        blocks = {self._book.spec(name).block for name in names.values()}
        for name in known - set(names.values()):
            if self._book.spec(name).block in blocks:
                self._book.miss(name)
        if self.steps > 0:
            for name in set(names.values()) - known:
                if self._book.spec(name).block in self._blocks_written:
                    self._book.miss(name)
        if self._book.specs() != before:
            self._writer.declare(self._book.specs())
        for sequence, index, kept in self._rows(step):
            by_block: dict[int | None, dict[str, Cells]] = {block: {} for block in blocks}
            for value in seen:
                cells = self._cells(names[value.name], value, sequence, kept, len(index.position))
                if cells is not None:
                    by_block[self._book.spec(names[value.name]).block][names[value.name]] = cells
            for block in sorted(by_block, key=lambda block: (block is not None, block)):
                self._writer.append(block, index, by_block[block])
        self._blocks_written |= blocks
        self._edges |= {(names[a], names[b]) for a, b in self._call_edges if a in names and b in names}
        for value in seen:
            if value.role is not None and names[value.name] not in self.roles.setdefault(value.role, []):
                self.roles[value.role].append(names[value.name])
        if call is not None:
            if call.given and self.unfit is None and all(value.layout is None for value in seen):
                self.unfit = (call.batch, call.length)
            self._calls.append({"step": step, "kind": call.kind, "rows": int(call.kept.sum())})
        self.steps += 1
        self._forget()
        if len(known) != len(self._book.names()) or time.monotonic() - self._written > MANIFEST_SECONDS:
            self._writer.update(**self._fields())
            self._written = time.monotonic()

    def close(self, not_run: list[dict[str, str]], roles: Mapping[str, list[str]]) -> None:
        """Marks the dump complete."""
        fields = self._fields()
        if not_run:
            fields["notRun"] = not_run
        if roles:
            fields["roles"] = dict(roles)
        self._writer.close(**fields)
        self._spool.clear()

    def abort(self) -> None:
        """Leaves the dump partial, with what the calls so far gave; the running call included."""
        try:
            self.end()
            self._writer.update(**self._fields())
        finally:
            self._writer.abort()
            self._forget()

    def _fields(self) -> dict[str, Any]:
        sequences: list[dict[str, Any]] = []
        for number, ids in enumerate(self._tokens.sequences):
            if number == self._loose_sequence:
                sequences.append({"length": len(self._loose)})
            else:
                sequences.append({"tokens": list(ids)} if storable([ids]) else {"length": len(ids)})
        fields: dict[str, Any] = {"sequences": sequences}
        if self._with_edges:
            fields["edges"] = list(self._edges)
        if self._calls and not self._loose:
            fields["calls"] = list(self._calls)
        return fields

    def _forget(self) -> None:
        self._seen = []
        self._call = None
        self._call_edges = set()
        self._counts.clear()
        self._used.clear()
        self._spool.clear()
        self.storages.clear()

    def _can_hold(self, name: str, tensor: torch.Tensor) -> bool:
        reason = None
        if tensor.is_meta:
            reason = "it has no data (device meta)"
        elif tensor.is_nested:
            reason = "it is a nested tensor, which cannot be held"
        elif torch._C._functorch.is_functorch_wrapped_tensor(tensor):
            reason = "it has no data of its own (inside torch.func or vmap)"
        elif tensor.layout != torch.strided or tensor.is_quantized:
            reason = f"its layout {tensor.layout} cannot be held"
        elif not tensor.is_complex() and torch_dtype_name(tensor.dtype) is None or tensor.dtype == torch.complex32:
            reason = f"its dtype {str(tensor.dtype).removeprefix('torch.')} cannot be held"
        if reason is not None:
            self.refused[name] = reason
        return reason is None

    def _layout(self, name: str, leaf: Leaf, module: torch.nn.Module | None) -> tuple[Layout | None, np.ndarray | None]:
        call, tensor = self._call, leaf.tensor
        if call is None or leaf.role is not None:
            return None, None
        shape, last = tuple(tensor.shape), call.length - self._kept_logits
        if self._kept_logits > 0 and last > 0 and shape == (call.batch, self._kept_logits, self._vocabulary):
            return Layout(1), np.arange(last, call.length)
        if name in self._book.names():
            known = self._book.layout(name)
            return (known if known is not None and known.fits(shape, call.batch, call.length) else None), None
        for pattern, axis in self._axes:
            if pattern.fullmatch(name):
                layout = Layout(axis)
                if not layout.fits(shape, call.batch, call.length):
                    raise DumpError(f"capture: expected axis {axis} of {name} to count {call.length} tokens, got shape {list(shape)}")
                return layout, None
        same = self.storages.same(tensor)
        if same is not None and same.layout is not None:
            return same.layout, None
        layout, is_open = find_layout(tensor, call.batch, call.length, module)
        if is_open:
            self.open.add(name)
        return layout, None

    def _block_of(self, name: str) -> int | None:
        match = None if self._block is None else self._block.match(name)
        return None if match is None else int(match[1])

    def _row_shape(self, value: Seen) -> tuple[int, ...]:
        """Shape per token row, or of one value of a step."""
        shape, call = value.values.shape, self._call
        if value.layout is not None and call is not None:
            rows = value.layout.rows(value.values, call.batch, call.length if value.at is None else len(value.at))
            return rows.shape[2:]
        return (shape[1:] if self._by_sequence(value) else shape) or (1,)

    def _by_sequence(self, value: Seen) -> bool:
        """True for a state: its first axis counts the sequences."""
        shape, call = value.values.shape, self._call
        return value.role is not None and call is not None and len(shape) > 1 and shape[0] == call.batch

    def _rows(self, step: int) -> list[tuple[int, RowIndex, np.ndarray]]:
        """Per sequence of the call: its number in the batch, its rows, and which columns they are."""
        call = self._call
        if call is None:
            if self._loose_sequence is None:
                self._loose_sequence = len(self._tokens.sequences)
                # a sequence of tokens that comes later gets a number behind it
                self._tokens.sequences.append([])
            self._loose.append(step)
            index = RowIndex(self._loose_sequence, step, np.asarray([len(self._loose) - 1]), np.asarray([-1]))
            return [(0, index, np.ones(1, bool))]
        rows = []
        for number in range(call.batch):
            kept = call.kept[number]
            positions = call.start[number] + np.arange(int(kept.sum()))
            tokens = call.ids[number][kept]
            if not storable([self._tokens.sequences[call.first + number]]):
                tokens = np.full(len(positions), -1)
            rows.append((number, RowIndex(call.first + number, step, positions, tokens), kept))
        return rows

    def _cells(self, name: str, value: Seen, sequence: int, kept: np.ndarray, rows: int) -> Cells | None:
        tap, call = self._book.spec(name), self._call
        if value.layout is None or call is None:
            if self._by_sequence(value):
                return step_cells(tap, np.ascontiguousarray(value.values[sequence]), rows)
            whole = value.values if value.values.ndim > 0 else value.values.reshape(1)
            return step_cells(tap, whole, rows) if sequence == 0 else None
        columns = np.arange(call.length) if value.at is None else value.at
        held = value.layout.rows(value.values, call.batch, len(columns))[sequence]
        inside = kept[columns]
        held = np.ascontiguousarray(held if inside.all() else held[inside])
        at = None if value.at is None else (np.cumsum(kept) - 1)[columns[inside]]
        return token_cells(tap, held, rows, at)
