"""How taps become Arrow columns and back: what writer and reader share."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from .dtypes import QUANTISED, VERSION_1, storage_dtype, stored_items
from ..errors import DumpError
from .names import INDEX_COLUMNS


@dataclass(frozen=True)
class TapSpec:
    """A tap as the manifest lists it. `shape` is per token row, or per step; None where a size varies.

    `axes` names the axes, the token axis first for scope `token`. `nullable`: rows may be missing. `masked`: infinities belong in it.
    """

    name: str
    block: int | None
    dtype: str
    scope: str
    axes: tuple[str, ...]
    shape: tuple[int | None, ...]
    nullable: bool = False
    masked: bool = False

    @property
    def file(self) -> str:
        """The Arrow file that holds it."""
        return data_file(self.block)

    @property
    def varying(self) -> bool:
        """True for columns that carry each row's shape beside it."""
        return self.scope == "step" or None in self.shape

    def entry(self) -> dict:
        """The tap as an object of the manifest."""
        entry = {"name": self.name, "block": self.block, "file": self.file, "dtype": self.dtype, "scope": self.scope}
        entry |= {"axes": list(self.axes), "shape": list(self.shape)}
        return entry | {key: True for key in ("nullable", "masked") if getattr(self, key)}

    @staticmethod
    def of(entry: Mapping) -> TapSpec:
        """The tap of an object of a manifest."""
        nullable, masked = entry.get("nullable") is True, entry.get("masked") is True
        axes, shape = tuple(entry["axes"]), tuple(entry["shape"])
        return TapSpec(entry["name"], entry["block"], entry["dtype"], entry["scope"], axes, shape, nullable, masked)


@dataclass(frozen=True)
class Cells:
    """The values of one tap in the rows of one batch: which rows have one, each one's shape, and all stored items in row order."""

    present: np.ndarray
    shapes: np.ndarray
    values: np.ndarray

    @staticmethod
    def none(rows: int, rank: int) -> Cells:
        """No value in any of `rows` rows."""
        return Cells(np.zeros(rows, bool), np.zeros((0, rank), np.int32), np.zeros(0, np.uint8))


def data_file(block: int | None) -> str:
    """Name of the Arrow file of a block."""
    return "model.arrow" if block is None else f"layers.{block}.arrow"


def data_schema(block: int | None, taps: Iterable[TapSpec], version: int) -> pa.Schema:
    """Index columns, then the taps in order."""
    fields = [pa.field(name, pa.int32(), nullable=False) for name in INDEX_COLUMNS]
    for tap in taps:
        fields += _fields(tap)
    return pa.schema(fields, {"zayascope.format": str(version), "zayascope.block": "" if block is None else str(block)})


def needs_version_2(tap: TapSpec) -> bool:
    """True for a tap that version 1 of the format cannot hold."""
    return tap.dtype not in VERSION_1 or tap.nullable or tap.masked


def row_items(tap: TapSpec) -> int:
    """Stored items of a row whose shape does not vary."""
    return stored_items(tap.dtype, tuple(size or 0 for size in tap.shape))


def encode(tap: TapSpec, cells: Cells) -> list[pa.Array]:
    """The column or columns of a tap."""
    rows, count = len(cells.present), len(cells.shapes)
    storage = storage_dtype(tap.dtype)
    kind, *shape_kind = (field.type for field in _fields(tap))
    absent = None if count == rows else pa.array(~cells.present)
    if not tap.varying:
        items = 1 if not tap.shape else row_items(tap)
        values = cells.values
        if absent is not None:
            values = np.zeros((rows, items), storage)
            values[cells.present] = cells.values.reshape(count, items)
        if not tap.shape:
            return [pa.array(values.reshape(-1), mask=None if absent is None else ~cells.present)]
        return [_equal_lists(values, kind, rows, absent)]
    lengths = np.zeros(rows, np.int64)
    lengths[cells.present] = [stored_items(tap.dtype, tuple(shape)) for shape in cells.shapes.tolist()]
    offsets = np.zeros(rows + 1, np.int64)
    np.cumsum(lengths, out=offsets[1:])
    sizes = np.zeros((rows, len(tap.shape)), np.int32)
    sizes[cells.present] = cells.shapes
    values = pa.array(cells.values if count > 0 else np.zeros(0, storage))
    if tap.scope == "step" and count == rows:
        absent = pa.array(np.zeros(rows, bool))
    return [
        pa.ListArray.from_arrays(pa.array(offsets.astype(np.int32)), values, type=kind, mask=absent),
        _equal_lists(sizes, shape_kind[0], rows, absent),
    ]


def _equal_lists(values: np.ndarray, kind: pa.FixedSizeListType, rows: int, absent: pa.Array | None) -> pa.Array:
    """Lists of one length. pyarrow divides by that length, which for empty lists (a scalar's shape) ends the process."""
    if kind.list_size > 0:
        return pa.FixedSizeListArray.from_arrays(pa.array(values.reshape(-1)), type=kind, mask=absent)
    gone = [False] * rows if absent is None else absent.to_pylist()
    return pa.array([None if each else [] for each in gone], kind)


def decode(tap: TapSpec, batch: pa.RecordBatch) -> Cells:
    """What `encode` was given, read from a batch without copying where nothing is missing."""
    column = batch.column(tap.name)
    if isinstance(column, pa.ExtensionArray):
        column = column.storage
    present = np.ones(len(column), bool) if column.null_count == 0 else np.asarray(column.is_valid())
    count = int(present.sum())
    if tap.varying:
        sizes = batch.column(f"{tap.name}#shape")
        shapes = sizes.flatten().to_numpy(zero_copy_only=False).reshape(count, len(tap.shape))
        values = column.flatten().to_numpy(zero_copy_only=False)
        held = sum(stored_items(tap.dtype, tuple(shape)) for shape in shapes.tolist())
        if held != len(values):
            raise DumpError(f"read: expected {held} stored items as the shapes say, got {len(values)} for {tap.name}")
        return Cells(present, shapes, values)
    flat = column.flatten() if tap.shape else column.drop_null()
    shapes = np.broadcast_to(np.asarray(tap.shape, np.int32), (count, len(tap.shape)))
    return Cells(present, shapes, flat.to_numpy(zero_copy_only=False))


def rows_of(tap: TapSpec, cells: Cells) -> list[np.ndarray]:
    """The stored values of the rows that are there, one array per run of rows of the same shape: [rows, ...] each.

    The last axis of quantised types is in bytes.
    """
    runs: list[np.ndarray] = []
    start = item = 0
    shapes = cells.shapes
    while start < len(shapes):
        differs = np.flatnonzero((shapes[start:] != shapes[start]).any(axis=1)) if tap.varying else ()
        end = len(shapes) if len(differs) == 0 else start + int(differs[0])
        shape = tuple(int(size) for size in shapes[start])
        items = stored_items(tap.dtype, shape)
        if tap.dtype in QUANTISED:
            shape = (*shape[:-1], stored_items(tap.dtype, shape[-1:]))
        runs.append(cells.values[item : item + items * (end - start)].reshape(end - start, *shape))
        start, item = end, item + items * (end - start)
    return runs


def converted(batch: pa.RecordBatch, old: Sequence[TapSpec], new: Sequence[TapSpec], schema: pa.Schema) -> pa.RecordBatch:
    """A batch of the taps `old` as one of the taps `new`: missing ones are null, fixed shapes may become varying ones."""
    known = {tap.name: tap for tap in old}
    arrays: list[pa.Array] = [batch.column(name) for name in INDEX_COLUMNS]
    for tap in new:
        before = known.get(tap.name)
        arrays += encode(tap, Cells.none(len(batch), len(tap.shape)) if before is None else decode(before, batch))
    return pa.RecordBatch.from_arrays(arrays, schema=schema)


def _fields(tap: TapSpec) -> list[pa.Field]:
    metadata = {"zayascope.dtype": tap.dtype}
    storage = pa.from_numpy_dtype(storage_dtype(tap.dtype))
    nullable = tap.scope == "step" or tap.nullable
    item = pa.field("item", storage, nullable=False)
    if tap.varying:
        sizes = pa.list_(pa.field("item", pa.int32(), nullable=False), len(tap.shape))
        return [
            pa.field(tap.name, pa.list_(item), nullable, metadata),
            pa.field(f"{tap.name}#shape", sizes, nullable),
        ]
    if not tap.shape:
        return [pa.field(tap.name, storage, nullable, metadata)]
    shape = [size for size in tap.shape if size is not None]
    if tap.dtype in QUANTISED:
        metadata["zayascope.shape"] = json.dumps(shape, separators=(",", ":"))
        shape = [*shape[:-1], stored_items(tap.dtype, tuple(shape[-1:]))]
    metadata["ARROW:extension:name"] = "arrow.fixed_shape_tensor"
    metadata["ARROW:extension:metadata"] = json.dumps({"shape": shape}, separators=(",", ":"))
    return [pa.field(tap.name, pa.list_(item, row_items(tap)), nullable, metadata)]


def token_cells(tap: TapSpec, values: np.ndarray, rows: int, at: np.ndarray | None = None) -> Cells:
    """Cells of stored `values` [n, ...]: one per row, or in the rows that `at` numbers (rising). DumpError unless they fit the tap."""
    count = rows if at is None else len(at)
    shape = element_shape(tap, values.shape[1:])
    fits = len(values) == count and len(shape) == len(tap.shape) and all(e in (None, g) for e, g in zip(tap.shape, shape))
    if not fits or values.dtype != storage_dtype(tap.dtype):
        raise DumpError(f"dump: expected {count} rows of {list(tap.shape)} in {tap.dtype}, got {list(values.shape)} of {values.dtype} for {tap.name}")
    present = np.ones(rows, bool)
    if at is not None:
        present[:] = False
        present[at] = True
    return Cells(present, np.broadcast_to(np.asarray(shape, np.int32), (count, len(shape))), values.reshape(-1))


def step_cells(tap: TapSpec, value: np.ndarray, rows: int) -> Cells:
    """Cells of one value a step: it stands in the last of `rows` rows. DumpError unless it fits the tap."""
    shape = element_shape(tap, value.shape)
    fits = len(shape) == len(tap.shape) and all(e in (None, g) for e, g in zip(tap.shape, shape))
    if not fits or value.dtype != storage_dtype(tap.dtype):
        raise DumpError(f"dump: expected {list(tap.shape)} in {tap.dtype}, got {list(value.shape)} of {value.dtype} for {tap.name}")
    return Cells(np.arange(rows) == rows - 1, np.asarray([shape], np.int32).reshape(1, len(shape)), value.reshape(-1))


def element_shape(tap: TapSpec, stored: tuple[int, ...]) -> tuple[int, ...]:
    """The shape in elements of a value as it is stored: they differ in the last axis of quantised types."""
    if tap.dtype not in QUANTISED or not stored:
        return tuple(stored)
    block, size = QUANTISED[tap.dtype]
    return (*stored[:-1], stored[-1] // size * block)


def cut(tap: TapSpec, cells: Cells, start: int, end: int) -> Cells:
    """The cells of rows [start, end)."""
    first, last = int(cells.present[:start].sum()), int(cells.present[:end].sum())
    if tap.varying:
        sizes = np.cumsum([0, *(stored_items(tap.dtype, tuple(shape)) for shape in cells.shapes.tolist())])
        items = slice(int(sizes[first]), int(sizes[last]))
    else:
        items = slice(first * row_items(tap), last * row_items(tap))
    return Cells(cells.present[start:end], cells.shapes[first:last], cells.values[items])
