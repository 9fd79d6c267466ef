"""Opens every Arrow file of dumps as a Python user would: pyarrow, NumPy, Polars, DuckDB. Prints JSON.

    python test/reference/inspect_dump.py DUMP...
"""

import json
import os
import sys
from pathlib import Path

os.environ["POLARS_UNKNOWN_EXTENSION_TYPE_BEHAVIOR"] = "load_as_storage"

import duckdb  # noqa: E402
import polars  # noqa: E402
import pyarrow as pa  # noqa: E402


def inspect(path: Path) -> dict:
    reader = pa.ipc.open_file(path)
    table = reader.read_all()
    table.validate(full=True)
    return {
        "name": path.name,
        "rows": table.num_rows,
        "batches": reader.num_record_batches,
        "polarsRows": polars.from_arrow(table).height,
        "duckdbRows": count_in_duckdb(table),
        "columns": [describe(table, field) for field in table.schema],
    }


def count_in_duckdb(table: pa.Table) -> int:
    connection = duckdb.connect()
    connection.register("dump", table)
    return connection.sql("select count(*) from dump").fetchone()[0]


def describe(table: pa.Table, field: pa.Field) -> dict:
    column = table.column(field.name).combine_chunks()
    tensor = isinstance(field.type, pa.FixedShapeTensorType)
    array = column.to_numpy_ndarray() if tensor else None
    return {
        "name": field.name,
        "nullCount": column.null_count,
        "dtype": (field.metadata or {}).get(b"zayascope.dtype", b"").decode(),
        "numpyShape": list(array.shape) if tensor else None,
        "numpyDtype": str(array.dtype) if tensor else None,
    }


print(json.dumps({folder: [inspect(path) for path in sorted(Path(folder).glob("*.arrow"))] for folder in sys.argv[1:]}))
