"""The package's reader, writer, matcher and metrics against pyarrow, NumPy and gguf."""

import importlib.util
import json
import math
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import torch
from expecting import raises
from gguf import GGMLQuantizationType
from gguf.constants import GGML_QUANT_SIZES

import zayascope
from zayascope.format import manifest
from zayascope.format import writer as writing
from zayascope.format.columns import TapSpec, step_cells, token_cells
from zayascope.format.dtypes import QUANTISED, STORAGE
from zayascope.format.lock import lock_path, locked
from zayascope.format.manifest import prepare_folder
from zayascope.format.names import check_name, natural_key
from zayascope.format.pattern import compile_pattern
from zayascope.format.writer import DumpWriter, RowIndex

ROOT = Path(__file__).resolve().parents[2]
ANYBODY = {"producer": {"name": "test", "version": "1"}, "policy": {"name": "none"}, "backend": {"name": "cpu"}, "selection": {"taps": "**", "positions": "all"}}
KNOWN = {"name": "net", "type": "net", "config": {}, "configSha256": "0", "weightsSha256": "0", "dtype": "F32"}


def pyarrow_maker():
    """`test/dump/version2.py`: a writer and reader of version 2 made of pyarrow and NumPy alone."""
    spec = importlib.util.spec_from_file_location("version2", ROOT / "test" / "dump" / "version2.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def check_reads_what_pyarrow_writes(folder):
    pyarrow_maker().make(folder)
    expected, dump = json.loads((folder / "values.json").read_text()), zayascope.load(folder / "dump")
    assert len(dump) == len(expected) > 70
    for name, value in expected.items():
        tap = dump[name]
        rows = [row for part in tap.parts() for row in part.values]
        assert [np.ascontiguousarray(row).tobytes().hex() for row in rows] == value["bytes"], name
        assert tap.rows()["position"].tolist() == value["there"], name
        for part, numbers in zip(tap.parts(), value["values"]) if None in tap.spec.shape else [(None, value["values"])]:
            found = tap.numpy() if part is None else zayascope.format.dtypes.widen(part.values, tap.dtype)
            wanted = np.asarray(numbers).reshape(len(found), -1)
            assert np.array_equal(found.reshape(len(found), -1).astype(np.float64), wanted), name
        if None not in tap.spec.shape:
            tensor = tap.torch()
            assert str(tensor.dtype).removeprefix("torch.") == {
                **{"F32": "float32", "F64": "float64", "F16": "float16", "BF16": "bfloat16", "BOOL": "bool"},
                **{"I64": "int64", "I32": "int32", "I16": "int16", "I8": "int8"},
            }.get(tap.dtype, "uint8")
            assert tensor.numel() * tensor.element_size() == len("".join(value["bytes"])) // 2
    assert zayascope.diff(dump, dump).passes(0)
    assert dump["I64[]"].numpy()[1] == 2**53 + 1


def check_writes_what_pyarrow_reads(folder):
    maker = pyarrow_maker()
    maker.make(folder)
    expected, source = json.loads((folder / "values.json").read_text()), zayascope.load(folder / "dump")
    specs = [source[name].spec for name in source]
    out = folder / "own"
    out.mkdir()
    writer = DumpWriter(out, {**ANYBODY, "model": {"name": "net"}, "sequences": [{"length": 5}]}, specs)
    cells = {}
    for spec in specs:
        value = expected[spec.name]
        kind = np.uint8 if spec.dtype in QUANTISED else STORAGE[spec.dtype]
        rows = [np.frombuffer(bytes.fromhex(text), kind) for text in value["bytes"]]
        shapes = [(*shape[:-1], len(row) // math.prod(shape[:-1])) if shape else () for row, shape in zip(rows, value["shapes"])]
        rows = [row.reshape(shape) for row, shape in zip(rows, shapes)]
        if spec.scope == "step":
            cells[spec.name] = step_cells(spec, rows[0], 5)
        elif None not in spec.shape:
            cells[spec.name] = token_cells(spec, np.stack(rows), 5, np.asarray(value["there"]))
        else:
            own = [token_cells(spec, row[None], 1) for row in rows]
            present = np.isin(np.arange(5), value["there"])
            cells[spec.name] = type(own[0])(present, np.concatenate([c.shapes for c in own]), np.concatenate([c.values for c in own]))
    writer.append(0, RowIndex(0, 0, np.arange(5), np.full(5, -1)), cells)
    writer.close()
    printed = subprocess.run([sys.executable, ROOT / "test/dump/version2.py", "check", folder, out], capture_output=True, text=True, check=True)
    result = json.loads(printed.stdout)
    assert result["wrong"] == [] and result["metadata"] == {"zayascope.format": "2", "zayascope.block": "0"} and result["taps"] == len(specs), result
    stats = {(row["tap"], row["position"]): row for row in pa.ipc.open_file(out / "stats.arrow").read_all().to_pylist()}
    for name, value in expected.items():
        for position, numbers in zip(value["there"], value["values"]):
            row = stats.pop((name, position))
            assert row["count"] == len(numbers) and row["min"] == min(numbers) and row["max"] == max(numbers), name
            assert math.isclose(row["mean"], math.fsum(numbers) / len(numbers), rel_tol=1e-12, abs_tol=1e-6 * row["absmax"]), name
    assert stats == {}


def small(folder, name, values, dtype="F32", positions=None, masked=False, scope="token"):
    """A dump of one tap `x` with `values` [rows, ...]."""
    out = folder / name
    out.mkdir()
    shape = values.shape[1:] if scope == "token" else values.shape
    spec = TapSpec("x", None, dtype, scope, (("T",) if scope == "token" else ()) + tuple("abcd"[: len(shape)]), shape, masked=masked)
    positions = np.arange(len(values) if scope == "token" else 1) if positions is None else np.asarray(positions)
    selection = {"taps": "**", "positions": f"{min(positions)}:" if min(positions) > 0 else "all"}
    sequences = [{"tokens": [0] * (int(max(positions)) + 1)}]
    writer = DumpWriter(out, {**ANYBODY, "model": KNOWN, "selection": selection, "sequences": sequences}, [spec])
    cells = token_cells(spec, values, len(positions)) if scope == "token" else step_cells(spec, values, 1)
    writer.append(None, RowIndex(0, 0, positions, np.zeros(len(positions))), {"x": cells})
    writer.close()
    return out


def check_version_1_where_it_fits(folder):
    out = small(folder, "one", np.ones((2, 3), np.float32))
    assert json.loads((out / "manifest.json").read_text())["version"] == 1
    assert pa.ipc.open_file(out / "model.arrow").schema.metadata[b"zayascope.format"] == b"1"
    assert json.loads((small(folder, "two", np.ones((2, 3), np.float64), "F64") / "manifest.json").read_text())["version"] == 2
    reference = zayascope.load(ROOT / "dumps/tiny/reference-bfloat16")
    assert len(reference) == 372 and reference["lm_head"].torch().shape == (56, 259) and not reference.partial
    said = json.loads((out / "manifest.json").read_text()) | {"version": 3}
    (out / "manifest.json").write_text(json.dumps(said))
    raises(lambda: zayascope.load(out), "written by a newer Zayascope")
    raises(lambda: zayascope.load(folder), "found none")


def check_metrics(folder):
    generator = np.random.default_rng(3)
    a = generator.standard_normal((5, 40)).astype(np.float32) + 3
    b = (a + 1e-2 * generator.standard_normal(a.shape)).astype(np.float32)
    (row,) = zayascope.diff(small(folder, "a", a), small(folder, "b", b))
    x, y = a.astype(np.float64), b.astype(np.float64)
    assert math.isclose(row.nmse, ((x - y) ** 2).sum() / (x**2).sum(), rel_tol=1e-12)
    assert math.isclose(row.nmse_variance, ((x - y) ** 2).mean() / x.var(), rel_tol=1e-9)
    assert row.max_abs == np.abs(x - y).max() and math.isclose(row.cosine, (x * y).sum() / math.sqrt((x**2).sum() * (y**2).sum()), rel_tol=1e-12)
    assert (row.rows, row.elements, row.identical, row.non_finite) == (5, 200, False, 0)
    table = zayascope.diff(folder / "a", folder / "b")
    assert "1 taps compared" in str(table) and f"{row.nmse:.1e}" in str(table) and table.passes(row.nmse) and not table.passes(row.nmse / 2)
    wide = small(folder, "wide", x, "F64")
    (row,) = zayascope.diff(wide, folder / "a")
    assert row.nmse == 0 and not row.identical and (row.dtype_a, row.dtype_b) == ("F64", "F32")
    zero = small(folder, "zero", np.zeros((5, 40), np.float32))
    assert zayascope.diff(zero, zero)[0].nmse == 0 and zayascope.diff(zero, folder / "a")[0].nmse == math.inf
    assert zayascope.diff(folder / "a", zero)[0].nmse == 1 and zayascope.diff(folder / "a", zero)[0].cosine == 0


def check_values_that_are_not_finite_never_pass(folder):
    plain = np.ones((2, 3), np.float32)
    for number, odd in enumerate((math.nan, math.inf)):
        values = plain.copy()
        values[1, 2] = odd
        same = small(folder, f"same{number}", values)
        for a, b in ((same, same), (small(folder, f"plain{number}", plain), same), (same, folder / f"plain{number}")):
            table = zayascope.diff(a, b)
            assert table[0].non_finite == 1 and table[0].nmse == math.inf and not table[0].identical
            assert not table.passes(math.inf) and table.first_above(1e9) is table[0]
    values = np.asarray([[0, -math.inf, -math.inf]], np.float32)
    masked = small(folder, "masked", values, masked=True)
    assert zayascope.diff(masked, masked).passes(0) and zayascope.diff(masked, masked)[0].identical
    values = np.asarray([[0, math.inf, -math.inf]], np.float32)
    assert zayascope.diff(masked, small(folder, "other", values, masked=True))[0].non_finite == 1


def check_integers_are_exact(folder):
    a = np.asarray([[2**60, 5], [7, -(2**62)]], np.int64)
    b = a.copy()
    b[0, 0] += 1
    table = zayascope.diff(small(folder, "a", a, "I64"), small(folder, "b", b, "I64"))
    assert table[0].differing == 1 and table[0].nmse is None and not table.passes(1e9) and "1 of 4 differ" in str(table)
    narrow = small(folder, "narrow", np.asarray([[1, 2]], np.int32), "I32")
    assert zayascope.diff(narrow, small(folder, "long", np.asarray([[1, 2]], np.int64), "I64")).passes(0)


def check_what_cannot_be_paired_fails(folder):
    values = np.arange(12, dtype=np.float32).reshape(4, 3) + 1
    a = small(folder, "a", values)
    fewer = small(folder, "fewer", values[1:3], positions=[1, 2])
    table = zayascope.diff(a, fewer)
    assert table[0].rows == 2 and table[0].identical and not table.passes(1) and "2 rows only on the reference side, the first at sequence 0 position 0" in table.unpaired[0]
    assert "shape" in str(zayascope.diff(a, small(folder, "narrow", values[:, :2]))) or zayascope.diff(a, folder / "narrow").unpaired
    assert not zayascope.diff(a, folder / "narrow").passes(math.inf)
    swapped = small(folder, "swapped", values[[2, 0, 3, 1]], positions=[2, 0, 3, 1])
    assert zayascope.diff(a, swapped)[0].nmse == 0 and zayascope.diff(a, swapped).unpaired == []
    step = small(folder, "step", values, scope="step")
    assert "cannot be compared" in zayascope.diff(a, step).unpaired[0]
    assert zayascope.diff(a, a, taps="nothing") == [] and not zayascope.diff(a, a, taps="nothing").passes(1)


def check_pandas_is_optional(folder):
    table = zayascope.diff(a := small(folder, "a", np.ones((2, 3), np.float32)), a)
    try:
        import pandas  # noqa: F401
    except ImportError:
        raises(table.frame, "pandas")
        assert not hasattr(table, "sort_values") and table._repr_html_() is None
    else:
        assert list(table.frame().columns)[:2] == ["name", "block"] and len(table.sort_values("nmse")) == 1
    code = "import sys, zayascope; zayascope.load(sys.argv[1]); assert 'torch' not in sys.modules and 'pandas' not in sys.modules"
    subprocess.run([sys.executable, "-c", code, a], check=True, env={**os.environ, "PYTHONPATH": str(ROOT / "python")})


def check_rows_are_split_and_columns_change(folder):
    before, writing.MAX_BATCH_BYTES = writing.MAX_BATCH_BYTES, 100
    try:
        values = np.arange(60, dtype=np.float32).reshape(10, 6)
        out = small(folder, "split", values)
    finally:
        writing.MAX_BATCH_BYTES = before
    assert pa.ipc.open_file(out / "model.arrow").num_record_batches == 3
    assert np.array_equal(zayascope.load(out)["x"].numpy(), values)
    # a tap that becomes nullable and varying, one that comes later, in a file and statistics that exist
    out = folder / "grown"
    out.mkdir()
    one = TapSpec("one", 3, "F32", "token", ("T", "a"), (2,))
    writer = DumpWriter(out, {**ANYBODY, "model": KNOWN, "sequences": [{"tokens": [1] * 9}]}, [one])
    writer.append(3, RowIndex(0, 0, np.arange(2), np.ones(2)), {"one": token_cells(one, np.ones((2, 2), np.float32), 2)})
    two = TapSpec("two", 3, "I16", "token", ("T",), (), nullable=True)
    one = TapSpec("one", 3, "F32", "token", ("T", "a"), (None,), nullable=True)
    writer.declare([two, one])
    assert zayascope.load(out)["one"].numpy().tolist() == [[1, 1], [1, 1]] and zayascope.load(out).partial
    writer.append(3, RowIndex(0, 1, np.asarray([2]), np.ones(1)), {"one": token_cells(one, np.zeros((1, 5), np.float32), 1)})
    writer.append(3, RowIndex(0, 2, np.asarray([3]), np.ones(1)), {"two": token_cells(two, np.asarray([-7], np.int16), 1)})
    raises(lambda: writer.declare([one]), "'two' went")
    writer.close()
    dump = zayascope.load(out)
    assert [part.values.tolist() for part in dump["one"].parts()] == [[[1, 1], [1, 1]], [[0] * 5]] and dump["two"].numpy().tolist() == [-7]
    stats = pa.ipc.open_file(out / "stats.arrow").read_all().to_pylist()
    assert [(row["tap"], row["position"]) for row in stats] == [("one", 0), ("one", 1), ("one", 2), ("two", 3)]
    assert dump.manifest["version"] == 2 and pa.ipc.open_file(out / "layers.3.arrow").schema.metadata[b"zayascope.format"] == b"2"


def check_a_scalar_of_a_step(folder):
    dump = zayascope.load(small(folder, "scalar", np.float32(3).reshape(()), scope="step"))
    (part,) = dump["x"].parts()
    assert part.values.tolist() == [3]


def check_what_a_killed_writer_leaves_is_replaced(folder):
    """The manifest being written has one name in both languages, so that either removes what the other left."""
    source = (ROOT / "src" / "dump" / "json-file.ts").read_text(encoding="utf-8")
    assert "return `.${file}.tmp`" in source
    assert manifest.TEMPORARY_MANIFEST == f".{manifest.MANIFEST}.tmp"
    out = small(folder, "left", np.zeros((1, 2), np.float32))
    left = out / manifest.TEMPORARY_MANIFEST
    left.write_text('{"format": "zaya')
    manifest.check_folder(out, overwrite=True)
    manifest.prepare_folder(out)
    assert list(out.iterdir()) == []
    manifest.write_manifest(out, {"format": manifest.FORMAT})
    assert [entry.name for entry in out.iterdir()] == [manifest.MANIFEST]


def check_names(folder):
    for name in ("a", "layers.3:x#2", "é\U0001f600", "x" * 1024, "\U0001f600" * 512, "shape#", "sequence.x"):
        assert check_name(name) == name
    for name in ("", "a\nb", "a\x7f", "\ud800", "x" * 1025, "\U0001f600" * 512 + "x", "position", "token_id", "a#shape", 3, None):
        raises(lambda name=name: check_name(name), "expected a tap name")
    assert sorted(["layers.10", "layers.2", "layers.2.b", "a"], key=natural_key) == ["a", "layers.2", "layers.2.b", "layers.10"]


def check_matching_takes_linear_time(folder):
    pattern = compile_pattern("**a" * 30 + "b,{**x,*y}{**z,?}" * 3)
    slowest = []
    for length in (2_000, 20_000):
        start = time.perf_counter()
        for _ in range(5):
            assert not pattern.fullmatch("a" * length + "c")
        slowest.append(time.perf_counter() - start)
    # ten times the length: a matcher that goes back would take a hundred times as long, or for ever
    assert slowest[1] < 40 * slowest[0] and slowest[1] < 20, slowest
    assert compile_pattern("layers.{0..9999}.x").fullmatch("layers.9999.x")
    raises(lambda: compile_pattern("{0..9999}{0..9999}" * 30), "shorter pattern")


def check_quantised_types_are_those_of_gguf(folder):
    sizes = {kind.name: size for kind, size in GGML_QUANT_SIZES.items() if size[0] > 1 and isinstance(kind, GGMLQuantizationType)}
    # gguf-py still lists an old size of Q8_1, which no file holds; ggml-common.h says 36
    sizes["Q8_1"] = (32, 36)
    assert sizes.items() <= QUANTISED.items()


def check_a_folder_is_locked_while_it_is_written(folder):
    def take():
        with locked(out):
            raise AssertionError("two writers")

    out = folder / "dump"
    module = torch.nn.Linear(3, 2)
    with zayascope.capture(module, out, tokens=False):
        holder = json.loads(lock_path(out).read_text())
        assert holder["pid"] == os.getpid() and holder["start"], holder
        raises(take, f"one that process {os.getpid()} on {holder['host']} is writing")
        module(torch.ones(2, 3))
    assert not lock_path(out).exists() and zayascope.load(out).manifest["status"] == "complete"
    ended = subprocess.run([sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True, text=True).stdout
    lock_path(out).write_text(json.dumps(holder | {"pid": int(ended), "start": "1"}))
    with locked(out):
        assert json.loads(lock_path(out).read_text()) == holder
    lock_path(out).write_text(json.dumps(holder | {"host": "elsewhere"}))
    raises(take, "on elsewhere is writing")
    lock_path(out).unlink()


def check_a_killed_overwrite_leaves_nothing_that_says_complete(folder):
    module = torch.nn.Linear(3, 2)
    with zayascope.capture(module, folder / "dump", tokens=False):
        module(torch.ones(2, 3))
    unlink = Path.unlink

    def killed(path, **more):
        if path.name.endswith(".arrow"):
            unlink(path, **more)
            raise KeyboardInterrupt

    try:
        Path.unlink = killed
        prepare_folder(folder / "dump")
        raise AssertionError("nothing was removed")
    except KeyboardInterrupt:
        pass
    finally:
        Path.unlink = unlink
    assert json.loads((folder / "dump" / "manifest.json").read_text())["status"] == "partial"
    prepare_folder(folder / "dump")
    assert list((folder / "dump").iterdir()) == []


def check_rows_that_contradict_the_manifest_are_refused(folder):
    """The sentences of `test/dump/row-check.test.ts`."""
    spec = TapSpec("x", None, "F32", "token", ("T", "a"), (2,))
    ids = [11, 12, 13, 14, 15, 16]
    (folder / "dump").mkdir()
    writer = DumpWriter(folder / "dump", {**ANYBODY, "model": KNOWN, "sequences": [{"tokens": ids}]}, [spec])
    for step, (start, end) in enumerate([(0, 4), (4, 6)]):
        rows = RowIndex(0, step, np.arange(start, end), np.asarray(ids[start:end]))
        writer.append(None, rows, {"x": token_cells(spec, np.ones((end - start, 2), np.float32), end - start)})
    writer.close()
    manifest = json.loads((folder / "dump" / "manifest.json").read_text())
    assert zayascope.load(folder / "dump")["x"].numpy().shape == (6, 2)
    sequence, selection = manifest["sequences"][0], manifest["selection"]
    for change, message in [
        ({"sequences": [{"tokens": [11, 12, 13, 7, 15, 16]}]}, "token 7 at position 3 of sequence 0, as the manifest says, got 14 (row 3)"),
        ({"sequences": [{"tokens": ids + [4]}]}, "a row for position 6 of sequence 0, which the manifest gives 7 positions, in a complete dump, got none among 6 rows"),
        ({"version": 2, "sequences": [{"length": 2**52}]}, "a row for position 6 of sequence 0, which the manifest gives 4503599627370496 positions"),
        ({"sequences": [{"tokens": ids[:5]}]}, "positions within the 5 that the manifest gives sequence 0, got 5"),
        ({"sequences": [sequence, {"tokens": [1, 2]}]}, "a row for position 0 of sequence 1"),
        ({"sequences": []}, "rows of the manifest's 0 sequences, got one of sequence 0"),
        ({"sequences": [7]}, "expected sequences with token ids or a length, got 7"),
        ({"steps": 3}, "rows of 3 steps, as the manifest says, got rows of 2"),
        ({"steps": 1}, "steps below 1, as the manifest says, got step 1"),
        ({"selection": {**selection, "positions": "0:5"}}, "positions 0:5, as the manifest's selection says, got position 5"),
    ]:
        (folder / "dump" / "manifest.json").write_text(json.dumps(manifest | change))
        raises(lambda: zayascope.load(folder / "dump")["x"].numpy(), message)
        raises(lambda: zayascope.diff(folder / "dump", folder / "dump"), message)
    (folder / "dump" / "manifest.json").write_text(json.dumps(manifest | {"steps": 1, "status": "partial"}))
    assert len(zayascope.load(folder / "dump")["x"]) == 6
