"""How taps become Arrow columns: schema and arrays of a dump's data files."""

import json

import numpy as np
import pyarrow as pa
import torch

from calls import Rows
from errors import DumpError
from taps import Tap

STORAGE = {
    **{"F32": pa.float32(), "F16": pa.uint16(), "BF16": pa.uint16(), "I32": pa.int32()},
    **{"F64": pa.float64(), "I64": pa.int64(), "I16": pa.int16(), "I8": pa.int8(), "U8": pa.uint8(), "BOOL": pa.uint8()},
}
TORCH = {
    **{"F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16, "I32": torch.int32},
    **{"F64": torch.float64, "I64": torch.int64, "I16": torch.int16, "I8": torch.int8, "U8": torch.uint8, "BOOL": torch.bool},
}
DTYPE_OF = {torch_dtype: name for name, torch_dtype in TORCH.items()}
# What version 1 of the format holds.
FIRST_DTYPES = ("F32", "F16", "BF16", "I32")
INDEX_COLUMNS = ("sequence", "position", "token_id", "step")
# A larger record batch body cannot be read by JavaScript readers.
MAX_BATCH_BYTES = 2**31 - 1


def data_schema(block: int | None, taps: list[Tap], dtypes: dict[str, str], version: int = 1) -> pa.Schema:
    """Index columns, then the taps in order; `dtypes` gives each tap's dtype by its name, `version` is that of the format."""
    fields = [pa.field(name, pa.int32(), nullable=False) for name in INDEX_COLUMNS]
    for tap in taps:
        fields += _fields(tap, dtypes[tap.name])
    return pa.schema(fields, {"zayascope.format": str(version), "zayascope.block": "" if block is None else str(block)})


def data_batch(
    schema: pa.Schema, taps: list[Tap], values: list[torch.Tensor], rows: Rows, tokens: list[int]
) -> pa.RecordBatch:
    """One step of one sequence: `values` are the taps', [R, ...] per tap, or one value for scope step."""
    positions = rows.positions
    size = sum(value.numel() * value.element_size() for value in values)
    if size > MAX_BATCH_BYTES:
        raise DumpError(
            f"write: expected a batch below 2 GiB, got {size} bytes for {taps[0].file}: select fewer --positions or --taps"
        )
    index = {
        "sequence": np.full(len(positions), rows.sequence, np.int32),
        "position": np.asarray(positions, np.int32),
        "token_id": np.asarray([tokens[p] for p in positions], np.int32),
        "step": np.full(len(positions), rows.step, np.int32),
    }
    arrays: list[pa.Array] = [pa.array(index[name]) for name in INDEX_COLUMNS]
    for tap, value in zip(taps, values, strict=True):
        arrays += _arrays(tap, schema, value, len(positions))
    return pa.RecordBatch.from_arrays(arrays, schema=schema)


def is_varying(tap: Tap) -> bool:
    """True for columns that carry each row's shape beside it."""
    return tap.scope == "step" or None in tap.shape


def _fields(tap: Tap, dtype: str) -> list[pa.Field]:
    metadata = {"zayascope.dtype": dtype}
    item = pa.field("item", STORAGE[dtype], nullable=False)
    if is_varying(tap):
        nullable = tap.scope == "step"
        sizes = pa.list_(pa.field("item", pa.int32(), nullable=False), len(tap.shape))
        return [
            pa.field(tap.name, pa.list_(item), nullable, metadata),
            pa.field(f"{tap.name}#shape", sizes, nullable),
        ]
    if not tap.shape:
        return [pa.field(tap.name, STORAGE[dtype], False, metadata)]
    metadata["ARROW:extension:name"] = "arrow.fixed_shape_tensor"
    metadata["ARROW:extension:metadata"] = json.dumps({"shape": list(tap.shape)}, separators=(",", ":"))
    return [pa.field(tap.name, pa.list_(item, int(np.prod(tap.shape))), False, metadata)]


def _arrays(tap: Tap, schema: pa.Schema, value: torch.Tensor, count: int) -> list[pa.Array]:
    values = pa.array(storage_bits(value).reshape(-1))
    kind = schema.field(tap.name).type
    if not is_varying(tap):
        return [values if not tap.shape else pa.FixedSizeListArray.from_arrays(values, type=kind)]
    shape_kind = schema.field(f"{tap.name}#shape").type
    shape = np.asarray(value.shape if tap.scope == "step" else value.shape[1:], np.int32)
    sizes = pa.array(np.tile(shape, count))
    if tap.scope == "token":
        offsets = pa.array(np.arange(count + 1, dtype=np.int32) * int(np.prod(shape)))
        lists = pa.ListArray.from_arrays(offsets, values, type=kind)
        return [lists, pa.FixedSizeListArray.from_arrays(sizes, type=shape_kind)]
    # one value a step: it stands in the last row, the other rows are null
    absent = pa.array(np.arange(count) < count - 1)
    offsets = pa.array(np.asarray([0] * count + [len(values)], np.int32))
    return [
        pa.ListArray.from_arrays(offsets, values, type=kind, mask=absent),
        pa.FixedSizeListArray.from_arrays(sizes, type=shape_kind, mask=absent),
    ]


def storage_bits(value: torch.Tensor) -> np.ndarray:
    """The tensor as NumPy; F16 and BF16 as their bits in uint16, truth values as 0 and 1."""
    value = value.contiguous()
    if value.dtype == torch.bool:
        return value.to(torch.uint8).numpy()
    if value.dtype in (torch.float16, torch.bfloat16):
        return value.view(torch.int16).numpy().view(np.uint16)
    return value.numpy()
