"""Writes a dump folder: manifest, one Arrow file per block, statistics.

    writer = DumpWriter(out, description, taps)
    for each forward step and sequence, for each block: writer.append(block, index, values)
    writer.close()

What `append` was given is in the files when it returns. A dump that is not closed stays marked partial and reads up to its last
whole batch. Taps may be declared later on (`declare`): files that gain a column, or whose column changes, are written anew and
replaced as a whole.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from .columns import Cells, TapSpec, converted, cut, data_file, data_schema, encode, needs_version_2, rows_of
from .dtypes import QUANTISED
from ..errors import DumpError
from .manifest import FORMAT, write_manifest
from .names import INDEX_COLUMNS, check_name
from .stats import COLUMNS, row_stats

# Rows are split over several batches where the body of one would be larger: JavaScript readers stop at 2 GiB.
MAX_BATCH_BYTES = 2**30
MAX_LIST_ITEMS = 2**31 - 1
#: Fields of a manifest that only version 2 has.
VERSION_2_FIELDS = ("roles", "notRun", "order", "edges", "graph", "calls")
IDENTITY = ("type", "config", "configSha256", "weightsSha256", "dtype")


@dataclass(frozen=True)
class RowIndex:
    """The index columns of the rows of one step and sequence; `token_id` is -1 where there is none."""

    sequence: int
    step: int
    position: np.ndarray
    token_id: np.ndarray

    def columns(self, start: int, end: int) -> list[pa.Array]:
        """The four columns of rows [start, end), in file order."""
        rows = end - start
        fixed = {"sequence": np.full(rows, self.sequence, np.int32), "step": np.full(rows, self.step, np.int32)}
        fixed |= {"position": np.asarray(self.position[start:end], np.int32), "token_id": np.asarray(self.token_id[start:end], np.int32)}
        return [pa.array(fixed[name]) for name in INDEX_COLUMNS]


class DumpWriter:
    """Streams the values of taps into the folder `out`, which must exist and be empty of dumps.

    `description` is the manifest without format, version, status, steps and taps. The version written is 1 where version 1 can hold
    everything, else 2. DumpError for taps that the format does not allow.
    """

    def __init__(self, out: Path, description: Mapping[str, Any], taps: Iterable[TapSpec] = ()) -> None:
        self._out = out
        self._head = {
            "status": "partial",
            "tier": "full",
            "created": datetime.now(timezone.utc).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        }
        self._fields = dict(description)
        self._taps: list[TapSpec] = []
        self._files: dict[int | None, _DataFile] = {}
        self._stats: _StatsFile | None = None
        self._steps = 0
        self._version = 1
        self._closed = False
        self.declare(taps)

    @property
    def version(self) -> int:
        """The format's version, as far as is known now."""
        return self._version

    def declare(self, taps: Iterable[TapSpec]) -> None:
        """Sets the whole list of taps, in order. Those of files that exist must stay, and may only become nullable or varying."""
        taps = list(taps)
        names = [check_name(tap.name) for tap in taps]
        if len(set(names)) != len(names):
            twice = next(name for name in names if names.count(name) > 1)
            raise DumpError(f"dump: expected tap names that differ, got {twice!r} twice")
        lost = {tap.name for tap in self._taps if tap.block in self._files} - set(names)
        if lost:
            raise DumpError(f"dump: expected taps to stay, {sorted(lost)[0]!r} went")
        if taps != self._taps or self._stats is None:
            self._taps = taps
            self._write_manifest()
        for block, file in self._files.items():
            file.change([tap for tap in taps if tap.block == block], self._version)
        if self._stats is None:
            self._stats = _StatsFile(self._out / "stats.arrow", names, self._version)
        else:
            self._stats.change(names, self._version)

    def update(self, **fields: Any) -> None:
        """Sets fields of the manifest and writes it."""
        before = self._version
        self._fields |= fields
        self._write_manifest()
        if self._version != before:
            self.declare(self._taps)

    def append(self, block: int | None, index: RowIndex, values: Mapping[str, Cells]) -> None:
        """One step's rows of one sequence in the file of a block; statistics follow from them.

        Every tap of scope `token` needs a value in every row unless it is nullable. DumpError names the tap at fault.
        """
        if self._closed or self._stats is None:
            raise DumpError(f"dump: expected an open dump, got one that is closed: {self._out}")
        rows = len(index.position)
        if rows == 0:
            return
        if block not in self._files:
            taps = [tap for tap in self._taps if tap.block == block]
            self._files[block] = _DataFile(self._out / data_file(block), block, taps, self._version)
        file = self._files[block]
        cells = {tap.name: values.get(tap.name, Cells.none(rows, len(tap.shape))) for tap in file.taps}
        for tap in file.taps:
            if tap.scope == "token" and not tap.nullable and not cells[tap.name].present.all():
                raise DumpError(f"dump: expected a value in every row, got {int(cells[tap.name].present.sum())} of {rows} for {tap.name}")
        file.append(index, cells)
        self._stats.append(block, index, [(tap, cells[tap.name]) for tap in file.taps])
        self._steps = max(self._steps, index.step + 1)

    def close(self, steps: int | None = None, **fields: Any) -> None:
        """Finishes the files and marks the dump complete; `fields` go into the manifest. `steps`: default those that gave rows."""
        self.update(**fields)
        self._steps = self._steps if steps is None else steps
        self.abort()
        self._head["status"] = "complete"
        self._write_manifest()

    def abort(self) -> None:
        """Closes the files as they are; the dump stays partial. Does nothing the second time."""
        if self._closed:
            return
        self._closed = True
        for file in (*self._files.values(), self._stats):
            if file is not None:
                file.close()

    def _write_manifest(self) -> None:
        names = {tap.name: number for number, tap in enumerate(self._taps)}
        fields = dict(self._fields)
        # edges are given by name: numbers change while taps are still being found
        if "edges" in fields:
            pairs = {(names[a], names[b]) for a, b in fields["edges"] if a in names and b in names}
            fields["edges"] = [list(pair) for pair in sorted(pairs, key=lambda pair: (pair[1], pair[0])) if pair[0] < pair[1]]
        model = fields.get("model", {})
        new = any(key in fields for key in VERSION_2_FIELDS) or any(key not in model for key in IDENTITY)
        new = new or any("tokens" not in sequence for sequence in fields.get("sequences", ())) or any(map(needs_version_2, self._taps))
        self._version = max(self._version, 2 if new else 1)
        steps = self._steps if self._head["status"] == "complete" else 0
        head = {"format": FORMAT, "version": self._version, **self._head}
        write_manifest(self._out, {**head, **fields, "steps": steps, "taps": [tap.entry() for tap in self._taps]})


class _ArrowFile:
    """One Arrow IPC file that grows by batches and can be replaced by itself with another schema."""

    def __init__(self, path: Path, schema: pa.Schema) -> None:
        self.path = path
        self.schema = schema
        self._sink, self._writer = _open_writer(path, schema)

    def write(self, batch: pa.RecordBatch) -> None:
        self._writer.write_batch(batch)

    def close(self) -> None:
        self._writer.close()
        self._sink.close()

    def replace(self, schema: pa.Schema, convert: Any) -> None:
        """Writes the file anew, each batch through `convert`, and puts it in the place of the old one."""
        self.close()
        temporary = self.path.with_name(f"{self.path.name}.tmp")
        self.schema = schema
        self._sink, self._writer = _open_writer(temporary, schema)
        with pa.memory_map(str(self.path)) as source, pa.ipc.open_file(source) as reader:
            for number in range(reader.num_record_batches):
                self.write(convert(reader.get_batch(number)))
        os.replace(temporary, self.path)


def _open_writer(path: Path, schema: pa.Schema) -> tuple[pa.OSFile, pa.RecordBatchFileWriter]:
    sink = pa.OSFile(str(path), "wb")
    return sink, pa.ipc.new_file(sink, schema)


class _DataFile(_ArrowFile):
    """The tensors of one block."""

    def __init__(self, path: Path, block: int | None, taps: Sequence[TapSpec], version: int) -> None:
        super().__init__(path, data_schema(block, taps, version))
        self.taps = list(taps)
        self._block = block

    def change(self, taps: Sequence[TapSpec], version: int) -> None:
        schema = data_schema(self._block, taps, version)
        old = self.taps
        if schema.equals(self.schema, check_metadata=True):
            return
        self.replace(schema, lambda batch: converted(batch, old, taps, schema))
        self.taps = list(taps)

    def append(self, index: RowIndex, cells: Mapping[str, Cells]) -> None:
        rows = len(index.position)
        for start, end in _slices(rows, self.taps, cells):
            arrays = index.columns(start, end)
            for tap in self.taps:
                part = cells[tap.name] if (start, end) == (0, rows) else cut(tap, cells[tap.name], start, end)
                arrays += encode(tap, part)
            self.write(pa.RecordBatch.from_arrays(arrays, schema=self.schema))


def _slices(rows: int, taps: Sequence[TapSpec], cells: Mapping[str, Cells]) -> list[tuple[int, int]]:
    """How rows are split over batches so that none is too large."""
    step_bytes = sum(cells[tap.name].values.nbytes for tap in taps if tap.scope == "step")
    token_bytes = sum(cells[tap.name].values.nbytes for tap in taps if tap.scope == "token")
    items = max((cells[tap.name].values.size for tap in taps), default=0)
    most = min((MAX_BATCH_BYTES - step_bytes) // max(1, -(-token_bytes // rows)), MAX_LIST_ITEMS // max(1, -(-items // rows)), rows)
    if most < 1:
        raise DumpError(f"dump: expected a row of at most {MAX_BATCH_BYTES} bytes, got {step_bytes + token_bytes // rows} in {taps[0].file}")
    return [(start, min(rows, start + most)) for start in range(0, rows, most)]


class _StatsFile(_ArrowFile):
    """`stats.arrow`."""

    def __init__(self, path: Path, names: Sequence[str], version: int) -> None:
        super().__init__(path, _stats_schema(version))
        # in the order of first declaration, so that numbers stay what they are when taps are added
        self._names = list(names)
        self._number = {name: number for number, name in enumerate(names)}
        self._version = version

    def change(self, names: Sequence[str], version: int) -> None:
        added = [name for name in names if name not in self._number]
        if not added and version == self._version:
            return
        for name in added:
            self._number[name] = len(self._names)
            self._names.append(name)
        self._version = version
        dictionary, schema = pa.array(self._names, pa.string()), _stats_schema(version)

        def convert(batch: pa.RecordBatch) -> pa.RecordBatch:
            taps = pa.DictionaryArray.from_arrays(batch.column("tap").indices, dictionary)
            return pa.RecordBatch.from_arrays([taps, *batch.columns[1:]], schema=schema)

        self.replace(schema, convert)

    def append(self, block: int | None, index: RowIndex, values: Sequence[tuple[TapSpec, Cells]]) -> None:
        parts: dict[str, list[np.ndarray]] = {name: [] for name in self.schema.names}
        for tap, cells in values:
            at = np.asarray(index.position, np.int32)[cells.present]
            if len(at) == 0 or (tap.dtype in QUANTISED and not _can_dequantise()):
                continue
            pieces = [row_stats(rows.reshape(len(rows), -1), tap.dtype) for rows in rows_of(tap, cells)]
            stats = {name: np.concatenate([piece[name] for piece in pieces]) for name in pieces[0]}
            ids = {"tap": self._number[tap.name], "block": -1 if block is None else block, "sequence": index.sequence, "step": index.step}
            for name, column in {**{k: np.full(len(at), v, np.int32) for k, v in ids.items()}, "position": at, **stats}.items():
                parts[name].append(column)
        if not parts["tap"]:
            return
        columns = {name: pa.array(np.concatenate(pieces)) for name, pieces in parts.items()}
        columns["tap"] = pa.DictionaryArray.from_arrays(columns["tap"], pa.array(self._names, pa.string()))
        self.write(pa.RecordBatch.from_arrays([columns[name] for name in self.schema.names], schema=self.schema))


def _can_dequantise() -> bool:
    try:
        import gguf.quants  # noqa: F401
    except ImportError:
        return False
    return True


def _stats_schema(version: int) -> pa.Schema:
    def column(name: str, kind: pa.DataType) -> pa.Field:
        return pa.field(name, kind, nullable=False)

    return pa.schema(
        [column("tap", pa.dictionary(pa.int32(), pa.string()))]
        + [column(name, pa.int32()) for name in ("block", "sequence", "position", "step", "count")]
        + [column(name, pa.float64()) for name in COLUMNS]
        + [column(name, pa.int32()) for name in ("nan", "inf")],
        {"zayascope.format": str(version)},
    )
