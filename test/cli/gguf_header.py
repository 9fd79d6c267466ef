"""Prints what gguf-py reads of a GGUF file's header, as JSON: metadata keys and tensors, slowest axis first."""
import json
import sys

from gguf import GGUFReader

reader = GGUFReader(sys.argv[1])
tensors = [
    {
        "name": tensor.name,
        "dtype": tensor.tensor_type.name,
        "shape": [int(size) for size in reversed(tensor.shape)],
        "sizeBytes": int(tensor.n_bytes),
    }
    for tensor in reader.tensors
]
keys = [key for key in reader.fields if not key.startswith("GGUF.")]
blocks = int(reader.fields["lfm2.block_count"].contents())
print(json.dumps({"keys": keys, "blocks": blocks, "tensors": tensors}))
