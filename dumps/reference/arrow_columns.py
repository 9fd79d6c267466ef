"""How values of PyTorch become Arrow columns: what the package's writer (`zayascope.format.columns`) is given."""

import errors  # noqa: F401  finds the package
import numpy as np
import pyarrow as pa
import torch
from zayascope.format.columns import TapSpec, encode, step_cells, token_cells
from zayascope.format.dtypes import STORAGE
from zayascope.format.names import INDEX_COLUMNS

from calls import Rows
from errors import DumpError
from taps import Tap

TORCH = {
    **{"F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16, "I32": torch.int32},
    **{"F64": torch.float64, "I64": torch.int64, "I16": torch.int16, "I8": torch.int8, "U8": torch.uint8, "BOOL": torch.bool},
}
DTYPE_OF = {torch_dtype: name for name, torch_dtype in TORCH.items()}
# A larger record batch body cannot be read by JavaScript readers.
MAX_BATCH_BYTES = 2**31 - 1


def tap_spec(tap: Tap, dtype: str) -> TapSpec:
    """The tap as the package knows it."""
    return TapSpec(tap.name, tap.block, dtype, tap.scope, tuple(tap.axes), tuple(tap.shape))


def data_batch(
    schema: pa.Schema, taps: list[TapSpec], values: list[torch.Tensor], rows: Rows, tokens: list[int]
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
        stored = storage_bits(value).view(STORAGE[tap.dtype])
        cells = (step_cells if tap.scope == "step" else token_cells)(tap, stored, len(positions))
        arrays += encode(tap, cells)
    return pa.RecordBatch.from_arrays(arrays, schema=schema)


def storage_bits(value: torch.Tensor) -> np.ndarray:
    """The tensor as NumPy; F16 and BF16 as their bits in uint16, truth values as 0 and 1."""
    value = value.contiguous()
    if value.dtype == torch.bool:
        return value.to(torch.uint8).numpy()
    if value.dtype in (torch.float16, torch.bfloat16):
        return value.view(torch.int16).numpy().view(np.uint16)
    return value.numpy()
