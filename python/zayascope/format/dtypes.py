"""Element types of dumps: how each is stored in Arrow, and how stored elements become numbers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import DumpError

if TYPE_CHECKING:
    import torch

#: NumPy dtype in which each plain dtype is stored. F16 and BF16 are stored as their bits, BOOL as 0 and 1.
STORAGE: dict[str, np.dtype] = {
    "F32": np.dtype("<f4"),
    "F16": np.dtype("<u2"),
    "BF16": np.dtype("<u2"),
    "I32": np.dtype("<i4"),
    "F64": np.dtype("<f8"),
    "I64": np.dtype("<i8"),
    "I16": np.dtype("<i2"),
    "I8": np.dtype("i1"),
    "U8": np.dtype("u1"),
    "BOOL": np.dtype("u1"),
}
#: The dtypes that version 1 of the format knows.
VERSION_1 = frozenset({"F32", "F16", "BF16", "I32"})
INTEGERS = frozenset({"I64", "I32", "I16", "I8", "U8", "BOOL"})
#: Quantised ggml types: elements and bytes of a block. They are stored as the bytes of their blocks.
QUANTISED: dict[str, tuple[int, int]] = {
    **{"Q4_0": (32, 18), "Q4_1": (32, 20), "Q5_0": (32, 22), "Q5_1": (32, 24), "Q8_0": (32, 34), "Q8_1": (32, 36)},
    **{"Q2_K": (256, 84), "Q3_K": (256, 110), "Q4_K": (256, 144), "Q5_K": (256, 176), "Q6_K": (256, 210), "Q8_K": (256, 292)},
    **{"IQ1_S": (256, 50), "IQ1_M": (256, 56), "IQ2_XXS": (256, 66), "IQ2_XS": (256, 74), "IQ2_S": (256, 82)},
    **{"IQ3_XXS": (256, 98), "IQ3_S": (256, 110), "IQ4_NL": (32, 18), "IQ4_XS": (256, 136)},
    **{"TQ1_0": (256, 54), "TQ2_0": (256, 66), "MXFP4": (32, 17), "NVFP4": (64, 36), "Q1_0": (128, 18), "Q2_0": (64, 18)},
}
_OF_TORCH = {
    **{"float32": "F32", "float16": "F16", "bfloat16": "BF16", "float64": "F64", "bool": "BOOL"},
    **{"int64": "I64", "int32": "I32", "int16": "I16", "int8": "I8", "uint8": "U8"},
}
_TO_TORCH = {name: torch_name for torch_name, name in _OF_TORCH.items()}


def storage_dtype(dtype: str) -> np.dtype:
    """NumPy dtype of the stored elements; bytes for quantised types. DumpError for an unknown dtype."""
    if dtype in QUANTISED:
        return np.dtype("u1")
    if dtype not in STORAGE:
        raise DumpError(f"dump: expected a dtype of the format, got {dtype!r}")
    return STORAGE[dtype]


def torch_dtype_name(dtype: torch.dtype) -> str | None:
    """The format's name of a torch dtype, e.g. `BF16`; None where the format has none."""
    return _OF_TORCH.get(str(dtype).removeprefix("torch."))


def stored_items(dtype: str, shape: tuple[int, ...]) -> int:
    """Stored items (elements, or bytes of quantised blocks) of one value of `shape`."""
    count = int(np.prod(shape, dtype=np.int64)) if shape else 1
    if dtype not in QUANTISED:
        return count
    block, size = QUANTISED[dtype]
    if not shape or shape[-1] % block:
        raise DumpError(f"dump: expected a last axis that is a multiple of {block} for {dtype}, got {list(shape)}")
    return count // block * size


def storage_array(value: Any) -> np.ndarray:
    """A torch tensor or an array as contiguous NumPy in its stored form; F16 and BF16 as their bits, bool as 0 and 1.

    Of a tensor in another device's memory this is a copy, of one in the CPU's it may be a view.
    """
    if isinstance(value, np.ndarray):
        value = np.ascontiguousarray(value).reshape(value.shape)
        if value.dtype == np.float16:
            return value.view(np.uint16)
        return value.view(np.uint8) if value.dtype == np.bool_ else value
    import torch

    tensor = value.detach().cpu().resolve_conj().resolve_neg().contiguous()
    if tensor.dtype in (torch.float16, torch.bfloat16):
        return tensor.view(torch.int16).numpy().view(np.uint16)
    if tensor.dtype == torch.bool:
        return tensor.view(torch.uint8).numpy()
    return tensor.numpy()


def widen(values: np.ndarray, dtype: str) -> np.ndarray:
    """Stored elements as numbers: the bits of F16 and BF16 become float32, BOOL becomes bool; others stay as they are.

    Quantised bytes become float32 if gguf (gguf-py) is installed; DumpError says so where it is not.
    """
    if dtype == "BF16":
        return (values.astype(np.uint32) << 16).view(np.float32)
    if dtype == "F16":
        return values.view(np.float16).astype(np.float32)
    if dtype == "BOOL":
        return values.view(np.bool_)
    if dtype in QUANTISED:
        try:
            from gguf import GGMLQuantizationType
            from gguf.quants import dequantize
        except ImportError as error:
            raise DumpError(f"read: expected the package gguf to dequantise {dtype}, it is not installed (raw=True gives bytes)") from error
        return dequantize(values, GGMLQuantizationType[dtype])
    return values


def to_torch(values: np.ndarray, dtype: str) -> torch.Tensor:
    """Stored elements as a torch tensor of their own dtype (a copy); quantised ones as bytes."""
    import torch

    tensor = torch.from_numpy(np.array(values, order="C"))
    if dtype in QUANTISED:
        return tensor
    target = getattr(torch, _TO_TORCH[dtype])
    return tensor if tensor.dtype == target else tensor.view(torch.int16).view(target) if dtype in ("F16", "BF16") else tensor.view(target)
