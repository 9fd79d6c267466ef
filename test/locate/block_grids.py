"""Rows that gguf-py says a type holds, as F32: random ones of a type, or dequantised from random blocks."""

import json
import sys

import gguf
import numpy as np
from gguf.quants import dequantize, quantize

random = np.random.default_rng(7)
rows = random.standard_normal((8, 512)).astype(np.float32)
found = {"F32": rows}
for name in ("Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0", "F16", "BF16"):
    kind = gguf.GGMLQuantizationType[name]
    found[name] = dequantize(quantize(rows, kind), kind)
for name in ("Q4_K", "Q5_K", "Q6_K"):
    kind = gguf.GGMLQuantizationType[name]
    count, size = gguf.GGML_QUANT_SIZES[kind]
    blocks = random.integers(0, 256, (8, rows.shape[1] // count, size), dtype=np.uint8)
    # Scales (F16) must be ordinary numbers: 0.01 and 0.05.
    places = {"Q4_K": [0, 2], "Q5_K": [0, 2], "Q6_K": [size - 2]}[name]
    for place, value in zip(places, (0.01, 0.05)):
        blocks[:, :, place : place + 2] = np.array([value], np.float16).view(np.uint8)
    found[name] = dequantize(blocks.reshape(8, -1), kind)
json.dump({name: values.astype(np.float32).ravel().tolist() for name, values in found.items()}, sys.stdout)
