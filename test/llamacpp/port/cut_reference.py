"""The first tokens of a dump of one sequence in one call, as a dump: `cut_reference.py DUMP COUNT OUT`.

What PyTorch computed of a token depends on no later one. Attention weights lose the columns of later tokens, a value per call stands on the last row.
"""

import json
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc


def cut(source: Path, count: int, out: Path) -> None:
    out.mkdir()
    manifest = json.loads((source / "manifest.json").read_text())
    manifest["sequences"] = [{"tokens": manifest["sequences"][0]["tokens"][:count]}]
    (out / "manifest.json").write_text(json.dumps(manifest))
    for file in sorted(source.glob("*.arrow")):
        with pa.OSFile(str(file)) as given:
            table = pa.ipc.open_file(given).read_all()
        kept = first_stats(table, count) if file.name == "stats.arrow" else first_rows(table, count)
        with pa.OSFile(str(out / file.name), "wb") as sink, pa.ipc.new_file(sink, kept.schema) as writer:
            writer.write_table(kept)


def first_stats(table: pa.Table, count: int) -> pa.Table:
    """Statistics of the rows that are kept. Those of attention weights count the columns of later tokens, zeros."""
    return table.filter(pc.less(table["position"], count))


def first_rows(table: pa.Table, count: int) -> pa.Table:
    total = table.num_rows
    for place, field in enumerate(table.schema):
        name = f"{field.name}#shape"
        if name not in table.schema.names:
            continue
        values, shapes = table.column(place).to_pylist(), table.column(name).to_pylist()
        if values[0] is None:
            values[count - 1], shapes[count - 1] = values[total - 1], shapes[total - 1]
        else:
            # [heads, all tokens] a row.
            heads = shapes[0][0]
            values = [[x for head in range(heads) for x in row[head * total : head * total + count]] for row in values]
            shapes = [[heads, count]] * total
        columns = [(place, field, values), (place + 1, table.schema.field(place + 1), shapes)]
        for at, own, data in columns:
            table = table.set_column(at, own, pa.array(data, own.type))
    return table.slice(0, count)


if __name__ == "__main__":
    cut(Path(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3]))
