"""Reads dumps: `load("out/ref")["model.layers.3"].numpy()`. Nothing is read before it is asked for; files are memory-mapped."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from .claims import row_fault
from .columns import TapSpec, data_file, data_schema, decode, rows_of
from .dtypes import to_torch, widen
from ..errors import DumpError
from .manifest import read_manifest
from .names import INDEX_COLUMNS

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class Rows:
    """Rows of one tap that have one shape: `values` [rows, ...] as stored, and where each stands."""

    values: np.ndarray
    sequence: np.ndarray
    position: np.ndarray
    token_id: np.ndarray
    step: np.ndarray


class Value:
    """One tap of a dump, read when asked. NumPy takes it as an array: `np.asarray(dump["lm_head"])`."""

    def __init__(self, dump: Dump, spec: TapSpec) -> None:
        self._dump = dump
        self.spec = spec

    @property
    def name(self) -> str:
        """The tap's name."""
        return self.spec.name

    @property
    def dtype(self) -> str:
        """The format's dtype, e.g. `BF16`."""
        return self.spec.dtype

    def parts(self, step: int | None = None, sequence: int | None = None) -> Iterator[Rows]:
        """The rows that are there, in file order, in pieces of one shape: zero-copy views of the mapped file, as stored.

        `step` and `sequence` select. Rows of a nullable tap that have no value are left out.
        """
        for batch in self._dump.batches(self.spec.block):
            index = {name: batch.column(name).to_numpy() for name in INDEX_COLUMNS}
            if (step is not None and index["step"][0] != step) or (sequence is not None and index["sequence"][0] != sequence):
                if len(set(index["step"])) == 1 and len(set(index["sequence"])) == 1:
                    continue
            cells = decode(self.spec, batch)
            index = {name: column[cells.present] for name, column in index.items()}
            start = 0
            for values in rows_of(self.spec, cells):
                at = slice(start, start + len(values))
                start += len(values)
                piece = Rows(values, index["sequence"][at], index["position"][at], index["token_id"][at], index["step"][at])
                wanted = np.ones(len(values), bool)
                if step is not None:
                    wanted &= piece.step == step
                if sequence is not None:
                    wanted &= piece.sequence == sequence
                if wanted.all():
                    yield piece
                elif wanted.any():
                    columns = (piece.sequence, piece.position, piece.token_id, piece.step)
                    yield Rows(values[wanted], *(column[wanted] for column in columns))

    def raw(self, step: int | None = None, sequence: int | None = None) -> np.ndarray:
        """All rows [rows, ...] as stored: F16 and BF16 as their bits, quantised types as bytes. DumpError where rows differ in shape."""
        pieces = [part.values for part in self.parts(step, sequence)]
        if not pieces:
            raise DumpError(f"read: expected rows that match, got none for {self.name} in {self._dump.path}")
        for piece in pieces:
            if piece.shape[1:] != pieces[0].shape[1:]:
                shapes = f"{list(pieces[0].shape[1:])} and {list(piece.shape[1:])}"
                raise DumpError(f"read: expected rows of one shape, got {shapes} for {self.name}: give a step, or use parts()")
        return pieces[0] if len(pieces) == 1 else np.concatenate(pieces)

    def numpy(self, step: int | None = None, sequence: int | None = None) -> np.ndarray:
        """All rows [rows, ...] as numbers: F16 and BF16 widened to float32, BOOL as bool, quantised types dequantised (needs gguf)."""
        return widen(self.raw(step, sequence), self.dtype)

    def torch(self, step: int | None = None, sequence: int | None = None) -> torch.Tensor:
        """All rows [rows, ...] as a tensor of the tap's own dtype (a copy); quantised types as bytes."""
        return to_torch(self.raw(step, sequence), self.dtype)

    def rows(self) -> dict[str, np.ndarray]:
        """`sequence`, `position`, `token_id` and `step` of each row that has a value."""
        parts = list(self.parts())
        return {name: np.concatenate([getattr(part, name) for part in parts] or [np.zeros(0, np.int32)]) for name in INDEX_COLUMNS}

    def __len__(self) -> int:
        return sum(len(part.values) for part in self.parts())

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        values = self.numpy()
        values = values if dtype is None else values.astype(dtype, copy=False)
        return values.copy() if copy else values

    def __repr__(self) -> str:
        spec = self.spec
        return f"<{spec.name}: {spec.dtype} [{', '.join(spec.axes)}] {list(spec.shape)} per {spec.scope}>"


class Dump(Mapping[str, Value]):
    """A dump on disk: a mapping from tap names, in the manifest's order, to values. Complete or partial, of tier full."""

    def __init__(self, path: Path) -> None:
        self.path = path
        #: The parsed manifest.
        self.manifest: dict[str, Any] = read_manifest(path)
        if self.manifest["tier"] != "full":
            raise DumpError(f"open dump: expected tier full, got {self.manifest['tier']} in {path}")
        self._taps = {tap["name"]: TapSpec.of(tap) for tap in self.manifest["taps"]}
        self._files: dict[int | None, list[pa.RecordBatch]] = {}
        if not self.partial:
            for spec in self._taps.values():
                if not (path / spec.file).is_file():
                    raise DumpError(f"open dump: expected {spec.file} in a complete dump, found none in {path}")

    @property
    def partial(self) -> bool:
        """True while its producer runs, and for ever if that did not finish."""
        return self.manifest["status"] == "partial"

    @property
    def roles(self) -> dict[str, list[str]]:
        """Tap names by role, e.g. `logits`; empty where the producer named none."""
        return dict(self.manifest.get("roles", {}))

    @property
    def edges(self) -> list[tuple[str, str]]:
        """Pairs of tap names: the value of the first went into the second."""
        names = list(self._taps)
        return [(names[a], names[b]) for a, b in self.manifest.get("edges", [])]

    def __getitem__(self, name: str) -> Value:
        if name not in self._taps:
            raise KeyError(f"{name!r} is no tap of {self.path}")
        return Value(self, self._taps[name])

    def __iter__(self) -> Iterator[str]:
        return iter(self._taps)

    def __len__(self) -> int:
        return len(self._taps)

    def __repr__(self) -> str:
        return f"<dump {self.path}: {self.manifest['status']}, {len(self)} taps>"

    def batches(self, block: int | None) -> list[pa.RecordBatch]:
        """The whole record batches of a block's file, mapped; a file that was cut short gives those before the cut."""
        if block not in self._files:
            self._files[block] = self._open(block)
        return self._files[block]

    def _open(self, block: int | None) -> list[pa.RecordBatch]:
        path = self.path / data_file(block)
        if not path.is_file() or path.stat().st_size < 8:
            if self.partial:
                return []
            raise DumpError(f"read: expected {path.name} in a complete dump, found none in {self.path}")
        source = pa.memory_map(str(path))
        try:
            reader = pa.ipc.open_file(source)
            batches = [reader.get_batch(number) for number in range(reader.num_record_batches)]
            schema = reader.schema
        except (pa.ArrowInvalid, OSError):
            schema, batches = _whole_batches(source, path)
        taps = [tap for tap in self._taps.values() if tap.block == block]
        expected = data_schema(block, taps, self.manifest["version"])
        if schema is not None and not _same_columns(schema, expected):
            raise DumpError(f"read: expected the columns that the manifest lists, got others in {path}")
        fault = row_fault(self.manifest, taps, _index(batches))
        if fault is not None:
            raise DumpError(f"read: expected {fault} in {path}")
        return batches


def load(path: str | Path) -> Dump:
    """Opens a dump of version 1 or 2, complete or partial. DumpError where it is none."""
    return Dump(Path(path))


def _index(batches: list[pa.RecordBatch]) -> dict[str, np.ndarray]:
    return {name: np.concatenate([batch.column(name).to_numpy() for batch in batches] or [np.zeros(0, np.int32)]) for name in INDEX_COLUMNS}


def _whole_batches(source: pa.MemoryMappedFile, path: Path) -> tuple[pa.Schema | None, list[pa.RecordBatch]]:
    source.seek(8)
    batches: list[pa.RecordBatch] = []
    try:
        stream = pa.ipc.open_stream(source)
    except (pa.ArrowInvalid, OSError):
        return None, []
    try:
        for batch in stream:
            batches.append(batch)
    except (pa.ArrowInvalid, OSError):
        pass  # the last batch is not whole
    return stream.schema, batches


def _same_columns(schema: pa.Schema, expected: pa.Schema) -> bool:
    return schema.names == expected.names and all(_shape(a.type) == _shape(b.type) for a, b in zip(schema, expected, strict=True))


def _shape(kind: pa.DataType) -> tuple[str, str, int]:
    """What matters of a column's type: kind, item type, and items of a row."""
    if isinstance(kind, pa.BaseExtensionType):
        kind = kind.storage_type
    if pa.types.is_fixed_size_list(kind):
        return "fixed", str(kind.value_type), kind.list_size
    return ("list", str(kind.value_type), 0) if pa.types.is_list(kind) else ("plain", str(kind), 0)
