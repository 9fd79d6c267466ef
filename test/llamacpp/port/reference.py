"""Dumps of the tiny model by dumps/reference/dump.py in F32, the sequences of a batch joined into one dump.

Standard input: a JSON list of {"batch": [[ids]], "out": folder}.
"""

import json
import sys
from pathlib import Path

import pyarrow as pa

ROOT = Path(__file__).resolve().parents[3]
sys.path.insert(0, str(ROOT / "dumps" / "reference"))

import dump  # noqa: E402


def make(batch: list[list[int]], out: str) -> None:
    parts = [Path(out if len(batch) == 1 else f"{out}-{k}") for k in range(len(batch))]
    for part, ids in zip(parts, batch):
        model = str(ROOT / "dumps" / "tiny" / "model")
        tokens = ",".join(map(str, ids))
        if (status := dump.main(["--model", model, "--tokens", tokens, "--dtype", "float32", "--out", str(part), "--quiet"])) != 0:
            sys.exit(status)
    if len(parts) > 1:
        join(parts, Path(out))


def join(parts: list[Path], out: Path) -> None:
    """One dump of all sequences, a forward step each, as `capture --one-by-one` numbers them."""
    out.mkdir()
    for file in sorted(parts[0].glob("*.arrow")):
        batches = [batch for k, part in enumerate(parts) for batch in renumbered(part / file.name, k)]
        with pa.OSFile(str(out / file.name), "wb") as sink, pa.ipc.new_file(sink, batches[0].schema) as writer:
            for batch in batches:
                writer.write_batch(batch)
    manifests = [json.loads((part / "manifest.json").read_text()) for part in parts]
    sequences = [sequence for manifest in manifests for sequence in manifest["sequences"]]
    (out / "manifest.json").write_text(json.dumps({**manifests[0], "sequences": sequences, "steps": len(parts)}))


def renumbered(file: Path, number: int):
    with pa.OSFile(str(file)) as source:
        reader = pa.ipc.open_file(source)
        for k in range(reader.num_record_batches):
            batch = reader.get_batch(k)
            for column in ("sequence", "step"):
                place = batch.schema.get_field_index(column)
                field, values = batch.schema.field(place), pa.array([number] * batch.num_rows, pa.int32())
                batch = batch.set_column(place, field, values)
            yield batch


if __name__ == "__main__":
    for wanted in json.load(sys.stdin):
        make(**wanted)
