"""Dumps of version 2 from Python, by pyarrow, NumPy and gguf alone: an independent writer and reader.

    version2.py make FOLDER          writes FOLDER/dump and FOLDER/values.json, what is in it
    version2.py check FOLDER DUMP    says how the values of DUMP, written by someone else, differ from FOLDER/values.json
"""

import json
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
from gguf import GGMLQuantizationType
from gguf.quants import dequantize, quantize

ROWS = 5
# Rows that the nullable taps hold.
THERE = [1, 2, 4]
STORAGE = {
    "F32": np.float32, "F16": np.uint16, "BF16": np.uint16, "I32": np.int32, "F64": np.float64, "I64": np.int64,
    "I16": np.int16, "I8": np.int8, "U8": np.uint8, "BOOL": np.uint8,
}  # fmt: skip
DECODED = ["Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0"]
BLOCKS = {name: (32, size) for name, size in zip(DECODED, (18, 20, 22, 24, 34), strict=True)} | {"Q4_K": (256, 144)}


def tap(name, dtype, shape, scope="token", nullable=False):
    axes = (["T"] if scope == "token" else []) + [f"a{k}" for k in range(len(shape))]
    entry = {"name": name, "block": 0, "file": "layers.0.arrow", "dtype": dtype, "scope": scope, "axes": axes}
    return entry | {"shape": shape} | ({"nullable": True} if nullable else {})


def plain_values(dtype, rows, shape, generator):
    kind = np.dtype(STORAGE[dtype])
    if dtype == "BOOL":
        return generator.integers(0, 2, (rows, *shape), dtype=np.uint8)
    if kind.kind == "f":
        return generator.standard_normal((rows, *shape)).astype(kind)
    if dtype in ("F16", "BF16"):  # bits of finite numbers
        return generator.integers(0, 0x4000, (rows, *shape), dtype=np.uint16)
    info = np.iinfo(kind)
    values = generator.integers(info.min, info.max, (rows, *shape), dtype=kind, endpoint=True)
    values.flat[0], values.flat[-1] = info.min, info.max
    if dtype == "I64":
        values.flat[1] = 2**53 + 1
    return values


def quantised_values(dtype, rows, shape, generator):
    """Bytes of blocks, [rows, ..., bytes of the last axis], and the values that gguf makes of them."""
    kind = GGMLQuantizationType[dtype]
    if dtype in DECODED:
        stored = quantize(generator.standard_normal((rows, *shape)).astype(np.float32), kind)
    else:
        elements, size = BLOCKS[dtype]
        stored = generator.integers(0, 60, (rows, *shape[:-1], shape[-1] // elements * size), dtype=np.uint8)
    return stored, dequantize(stored, kind)


def column(entry, stored, there):
    """The Arrow field and array of a tap. `stored` has the rows of `there` alone."""
    quantised = entry["dtype"] in BLOCKS
    nullable = entry.get("nullable", False) or entry["scope"] == "step"
    item = pa.from_numpy_dtype(stored.dtype)
    metadata = {"zayascope.dtype": entry["dtype"]}
    values = np.zeros((ROWS, *stored.shape[1:]), stored.dtype)
    values[there] = stored
    absent = np.ones(ROWS, bool)
    absent[there] = False
    mask = pa.array(absent) if nullable else None
    if entry["shape"] == []:
        array = pa.array(values, mask=absent if nullable else None)
        return pa.field(entry["name"], array.type, nullable, metadata), array
    size = int(np.prod(stored.shape[1:]))
    kind = pa.list_(pa.field("item", item, False), size)
    if quantised:
        metadata["zayascope.shape"] = json.dumps(entry["shape"], separators=(",", ":"))
    metadata |= {
        "ARROW:extension:name": "arrow.fixed_shape_tensor",
        "ARROW:extension:metadata": json.dumps({"shape": list(stored.shape[1:])}),
    }
    array = pa.FixedSizeListArray.from_arrays(pa.array(values.reshape(-1)), type=kind, mask=mask)
    return pa.field(entry["name"], kind, nullable, metadata), array


def varying_columns(entry, stored, shapes, there):
    """A list column and its shapes, row by row; `shapes` in elements."""
    item = pa.from_numpy_dtype(stored[0].dtype)
    lists, sizes = [None] * ROWS, [None] * ROWS
    for row, value, shape in zip(there, stored, shapes, strict=True):
        lists[row], sizes[row] = value.reshape(-1).tolist(), shape
    nullable = entry.get("nullable", False) or entry["scope"] == "step"
    fields = [
        pa.field(entry["name"], pa.list_(pa.field("item", item, False)), nullable, {"zayascope.dtype": entry["dtype"]}),
        pa.field(f"{entry['name']}#shape", pa.list_(pa.field("item", pa.int32(), False), len(shapes[0])), nullable),
    ]
    return fields, [pa.array(lists, fields[0].type), pa.array(sizes, fields[1].type)]


def make(folder):
    generator = np.random.default_rng(7)
    dump = folder / "dump"
    dump.mkdir(parents=True)
    taps, fields, arrays, values = [], [], [], {}
    for index, name in enumerate(("sequence", "position", "token_id", "step")):
        fields.append(pa.field(name, pa.int32(), False))
        data = {"position": np.arange(ROWS), "token_id": np.full(ROWS, -1)}.get(name, np.zeros(ROWS))
        arrays.append(pa.array(data.astype(np.int32)))
        assert len(fields) == index + 1

    def add(entry, stored, there, shapes, decoded=None):
        taps.append(entry)
        rows = [np.ascontiguousarray(row).tobytes().hex() for row in stored]
        known = None if decoded is None else [row.astype(np.float64).reshape(-1).tolist() for row in decoded]
        values[entry["name"]] = {"there": there, "shapes": shapes, "bytes": rows, "values": known}

    for dtype in STORAGE:
        for shape in ([], [3], [2, 3]):
            for nullable in (False, True):
                name = f"{dtype}{shape}{'?' if nullable else ''}"
                entry = tap(name, dtype, shape, nullable=nullable)
                there = THERE if nullable else list(range(ROWS))
                stored = plain_values(dtype, len(there), shape, generator)
                numbers = stored if dtype not in ("F16", "BF16") else None
                if dtype == "F16":
                    numbers = stored.view(np.float16)
                if dtype == "BF16":
                    numbers = (stored.astype(np.uint32) << 16).view(np.float32)
                field, array = column(entry, stored, there)
                fields.append(field), arrays.append(array)
                add(entry, stored, there, [shape] * len(there), numbers.astype(np.float64))
    for dtype, (elements, _) in BLOCKS.items():
        for nullable in (False, True):
            entry = tap(f"{dtype}{'?' if nullable else ''}", dtype, [2, 2 * elements], nullable=nullable)
            there = THERE if nullable else list(range(ROWS))
            stored, decoded = quantised_values(dtype, len(there), entry["shape"], generator)
            field, array = column(entry, stored, there)
            fields.append(field), arrays.append(array)
            add(entry, stored, there, [entry["shape"]] * len(there), decoded)
    for entry, there, shapes in (
        (tap("varying", "F64", [2, None]), list(range(ROWS)), [[2, k + 1] for k in range(ROWS)]),
        (tap("varying?", "I16", [None], nullable=True), THERE, [[k] for k in THERE]),
        (tap("varying Q8_0", "Q8_0", [None, 64]), list(range(ROWS)), [[k + 1, 64] for k in range(ROWS)]),
        (tap("state Q8_0", "Q8_0", [2, 32], scope="step"), [ROWS - 1], [[2, 32]]),
    ):
        if entry["dtype"] in BLOCKS:
            pairs = [quantised_values(entry["dtype"], 1, shape, generator) for shape in shapes]
            stored, decoded = [pair[0][0] for pair in pairs], [pair[1][0] for pair in pairs]
        else:
            stored = decoded = [plain_values(entry["dtype"], 1, shape, generator)[0] for shape in shapes]
        more, columns = varying_columns(entry, stored, shapes, there)
        fields.extend(more), arrays.extend(columns)
        add(entry, stored, there, shapes, decoded)

    schema = pa.schema(fields, {"zayascope.format": "2", "zayascope.block": "0"})
    table = pa.Table.from_arrays(arrays, schema=schema)
    table.validate(full=True)
    with pa.OSFile(str(dump / "layers.0.arrow"), "wb") as sink, pa.ipc.new_file(sink, schema) as writer:
        writer.write_table(table)
    names = ["block", "sequence", "position", "step", "count"]
    doubles = ["min", "max", "mean", "rms", "absmax"]
    stats = pa.schema(
        [pa.field("tap", pa.dictionary(pa.int32(), pa.utf8()), False)]
        + [pa.field(name, pa.int32(), False) for name in names]
        + [pa.field(name, pa.float64(), False) for name in doubles]
        + [pa.field(name, pa.int32(), False) for name in ("nan", "inf")]
    )
    with pa.OSFile(str(dump / "stats.arrow"), "wb") as sink, pa.ipc.new_file(sink, stats) as writer:
        writer.write_table(stats.empty_table())
    manifest = {
        "format": "zayascope-dump", "version": 2, "status": "complete", "tier": "full",
        "created": "2026-11-27T00:00:00Z", "producer": {"name": "python", "version": "1"}, "model": {"name": "net"},
        "policy": {"name": "none"}, "backend": {"name": "cpu"}, "sequences": [{"length": ROWS}],
        "selection": {"taps": "**", "positions": "all"}, "steps": 1, "taps": taps, "order": "natural",
    }  # fmt: skip
    (dump / "manifest.json").write_text(json.dumps(manifest))
    (folder / "values.json").write_text(json.dumps(values))


def rows_of(table, entry):
    """(row, element shape, bytes) of the rows of a tap that are there."""
    name, dtype = entry["name"], entry["dtype"]
    array = table.column(name).combine_chunks()
    storage = array.storage if isinstance(array, pa.ExtensionArray) else array
    shapes = table.column(f"{name}#shape") if f"{name}#shape" in table.schema.names else None
    kind = np.uint8 if dtype in BLOCKS else STORAGE[dtype]
    for row in range(table.num_rows):
        value = storage[row]
        if not value.is_valid:
            continue
        data = np.asarray(value.as_py(), kind).tobytes().hex()
        yield row, entry["shape"] if shapes is None else shapes[row].as_py(), data


def check(folder, dump):
    expected = json.loads((folder / "values.json").read_text())
    manifest = json.loads((dump / "manifest.json").read_text())
    table = pa.ipc.open_file(dump / "layers.0.arrow").read_all()
    table.validate(full=True)
    wrong, schema = [], pa.ipc.open_file(folder / "dump" / "layers.0.arrow").schema
    for entry in manifest["taps"]:
        want = expected[entry["name"]]
        found = list(rows_of(table, entry))
        if found != list(zip(want["there"], want["shapes"], want["bytes"], strict=True)):
            wrong.append(entry["name"])
    for field in schema:
        own = table.schema.field(field.name)
        if not own.equals(field):
            wrong.append(f"{field.name}: {own} {own.metadata}, not {field} {field.metadata}")
        if isinstance(field.type, pa.FixedShapeTensorType) and (own.type.shape, own.metadata) != (field.type.shape, field.metadata):
            wrong.append(f"{field.name}: {own.type} {own.metadata}")
    if table.schema.names != schema.names:
        wrong.append("columns in another order")
    metadata = {key.decode(): value.decode() for key, value in (table.schema.metadata or {}).items()}
    print(json.dumps({"wrong": wrong, "metadata": metadata, "rows": table.num_rows, "taps": len(manifest["taps"])}))


if __name__ == "__main__":
    if sys.argv[1] == "make":
        make(Path(sys.argv[2]))
        print("{}")
    else:
        check(Path(sys.argv[2]), Path(sys.argv[3]))
