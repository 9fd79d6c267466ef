"""Data files as pyarrow writes tensors whose axes lie in another order than they mean. permuted.py DUMP OUT

OUT/NAME/ is a copy of DUMP whose layers.0.arrow holds the tap `x`, [3, 2, 4] per row, otherwise. Prints the logical values that NumPy has.
"""

import json
import shutil
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa

dump, out = Path(sys.argv[1]), Path(sys.argv[2])
table = pa.ipc.open_file(dump / "layers.0.arrow").read_all()
place = table.schema.get_field_index("x")
field = table.schema.field(place)
logical = table.column("x").combine_chunks().to_numpy_ndarray()  # [rows, 3, 2, 4]


def put(name, kind, values, metadata=field.metadata):
    folder = out / name
    shutil.copytree(dump, folder)
    physical = np.ascontiguousarray(values).reshape(-1)
    item = pa.field("item", pa.float32(), False)
    flat = pa.FixedSizeListArray.from_arrays(pa.array(physical), type=pa.list_(item, 24))
    storage = flat.cast(kind.storage_type) if isinstance(kind, pa.BaseExtensionType) else flat
    array = pa.ExtensionArray.from_storage(kind, storage)
    own = table.set_column(place, pa.field("x", kind, False, metadata), array)
    with pa.OSFile(str(folder / "layers.0.arrow"), "wb") as sink, pa.ipc.new_file(sink, own.schema) as writer:
        writer.write_table(own)


tensor = lambda shape, **more: pa.fixed_shape_tensor(pa.float32(), shape, **more)  # noqa: E731
put("plain", tensor([3, 2, 4]), logical)
put("named", tensor([3, 2, 4], dim_names=["a", "b", "c"]), logical)
for permutation in ([1, 0, 2], [0, 2, 1], [2, 1, 0]):
    # Logical axis i is physical axis permutation[i].
    physical = np.transpose(logical, [0, *(1 + np.argsort(permutation))])
    name = "".join(map(str, permutation))
    put(name, tensor(list(physical.shape[1:]), permutation=permutation), physical)
    array = pa.ipc.open_file(out / name / "layers.0.arrow").read_all().column("x").combine_chunks()
    assert np.array_equal(array.to_numpy_ndarray(), logical), name
    names = [["a", "b", "c"][axis] for axis in np.argsort(permutation)]
    put(f"{name}-named", tensor(list(physical.shape[1:]), permutation=permutation, dim_names=names), physical)
# pyarrow writes what is no inverse of itself the wrong way round: by the specification [1, 2, 0] would have to be [2, 0, 1].
written = pa.FixedShapeTensorArray.from_numpy_ndarray(np.transpose(np.zeros((2, 2, 4, 3), np.float32), [0, 3, 1, 2]))
assert (written.type.shape, written.type.permutation) == ([2, 4, 3], [1, 2, 0])
for permutation in ([1, 2, 0], [2, 0, 1]):
    physical = np.transpose(logical, [0, *(1 + np.argsort(permutation))])
    put("".join(map(str, permutation)), tensor(list(physical.shape[1:]), permutation=permutation), physical)
# What says something else than the manifest.
put("other-shape", tensor([4, 2, 3]), logical)
put("other-names", tensor([3, 2, 4], dim_names=["b", "a", "c"]), logical)
put("other-dtype", tensor([3, 2, 4]), logical, {"zayascope.dtype": "F16"})
print(json.dumps(logical.reshape(-1).tolist()))
