"""Reads the start of an Arrow file as a stream, as a reader of a crashed run does. Prints JSON.

    python test/reference/read_truncated.py FILE BYTES

Output: {"columns": names, "batches": rows of each whole batch, "allBatches": rows of each batch of the whole file}.
"""

import json
import sys
from pathlib import Path

import pyarrow as pa

ARROW_MAGIC_BYTES = 8

path, size = Path(sys.argv[1]), int(sys.argv[2])
stream = pa.ipc.open_stream(pa.BufferReader(path.read_bytes()[ARROW_MAGIC_BYTES:size]))
batches = []
while True:
    try:
        batches.append(stream.read_next_batch().num_rows)
    except (StopIteration, OSError, pa.ArrowInvalid):
        break
whole = pa.ipc.open_file(path)
print(json.dumps({
    "columns": stream.schema.names,
    "batches": batches,
    "allBatches": [whole.get_batch(i).num_rows for i in range(whole.num_record_batches)],
}))
