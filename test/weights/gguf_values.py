"""Writes a GGUF file with every type of value through gguf-py, and prints what gguf-py's reader finds in it and in the files named, as JSON.

Usage: gguf_values.py WRITTEN.gguf [FILE...]
"""

import json
import sys

import numpy as np
from gguf import GGMLQuantizationType, GGUFReader, GGUFValueType, GGUFWriter


def write(path):
    writer = GGUFWriter(path, "zaya")
    writer.add_custom_alignment(64)
    writer.add_uint8("u8", 255)
    writer.add_int8("i8", -128)
    writer.add_uint16("u16", 65535)
    writer.add_int16("i16", -32768)
    writer.add_uint32("u32", 4294967295)
    writer.add_int32("i32", -2147483648)
    writer.add_uint64("u64", 2**64 - 1)
    writer.add_int64("i64", -(2**63))
    writer.add_float32("f32", 0.5)
    writer.add_float64("f64", 0.1)
    writer.add_bool("bool", True)
    writer.add_string("text", "Grüße, 世界")
    writer.add_array("texts", ["a", "é", "\U0001f600"])
    writer.add_array("integers", [1, -1, 0])
    writer.add_array("floats", [1.5, -2.0])
    writer.add_array("booleans", [True, False])
    writer.add_tensor("token_embd.weight", np.arange(10, dtype=np.float32).reshape(2, 5))
    writer.add_tensor("half", np.ones((3, 4, 2), dtype=np.float16))
    writer.add_tensor("blocks", np.zeros((3, 34), dtype=np.uint8), raw_dtype=GGMLQuantizationType.Q8_0)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def plain(value):
    """Integers beyond 2^53 as text, everything else as JSON has it."""
    if isinstance(value, list):
        return [plain(each) for each in value]
    if isinstance(value, bool) or not isinstance(value, int):
        return value
    return value if abs(value) < 2**53 else str(value)


def read(path):
    reader = GGUFReader(path)
    metadata = {}
    for name, field in reader.fields.items():
        if name.startswith("GGUF."):
            continue
        types = [GGUFValueType(each).name.lower() for each in field.types]
        metadata[name] = {"types": types, "value": plain(field.contents())}
    tensors = [
        {
            "name": tensor.name,
            "type": int(tensor.tensor_type),
            "ne": [int(size) for size in tensor.shape],
            "offset": int(tensor.data_offset),
            "bytes": int(tensor.n_bytes),
        }
        for tensor in reader.tensors
    ]
    return {"alignment": int(reader.alignment), "data": int(reader.data_offset), "metadata": metadata, "tensors": tensors}


write(sys.argv[1])
print(json.dumps([read(path) for path in sys.argv[1:]]))
