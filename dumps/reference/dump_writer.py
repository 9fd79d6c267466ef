"""Writes a dump folder: manifest, one Arrow file per block, statistics. One sequence, one forward step."""

import json
import os
import re
from datetime import datetime, timezone
from pathlib import Path

import numpy as np
import pyarrow as pa
import torch

from arrow_columns import TORCH, data_batch, data_schema
from errors import DumpError
from row_stats import COLUMNS, row_stats
from taps import Tap

MANIFEST = "manifest.json"
# Every file that a dump may consist of, whichever program wrote it.
DUMP_FILE = re.compile(r"manifest\.json(\.tmp)?|(model|stats|hash|layers\.\d+)\.arrow")


def check_folder(out: Path, overwrite: bool) -> None:
    """Refuses an existing `out` unless it is empty, or `overwrite` is set and it holds a dump and nothing else."""
    if not out.exists() or (out.is_dir() and not any(out.iterdir())):
        return
    if not overwrite:
        raise DumpError(f"dump: expected --out not to exist, it does: {out} (--overwrite replaces a dump)")
    if not _holds_dump(out):
        raise DumpError(f"dump: expected --out to hold a dump that may be replaced, it does not: {out}")
    others = sorted(entry.name for entry in out.iterdir() if not _is_dump_file(entry))
    if others:
        raise DumpError(f"dump: expected --out to hold nothing but a dump, got {others[0]!r} beside it: {out}")


def prepare_folder(out: Path) -> None:
    """A folder at `out`, which `check_folder` has cleared, without the files of an earlier dump.

    The manifest goes last: until then a crash leaves what is recognisable as a dump and can be replaced again.
    """
    out.mkdir(parents=True, exist_ok=True)
    old = [entry for entry in out.iterdir() if _is_dump_file(entry)]
    for entry in sorted(old, key=lambda entry: entry.name == MANIFEST):
        entry.unlink()


def _holds_dump(out: Path) -> bool:
    try:
        manifest = json.loads((out / MANIFEST).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return isinstance(manifest, dict) and manifest.get("format") == "zayascope-dump"


def _is_dump_file(entry: Path) -> bool:
    return entry.is_file() and DUMP_FILE.fullmatch(entry.name) is not None


class DumpWriter:
    """Streams taps, file by file. `description` is the manifest without status, steps and taps."""

    def __init__(
        self, out: Path, description: dict, taps: list[Tap], dtypes: dict[str, str], tokens: list[int], positions: range
    ) -> None:
        self._out = out
        self._dtypes = dtypes
        self._tokens = tokens
        self._positions = positions
        self._numbers = {tap.name: number for number, tap in enumerate(taps)}
        self._manifest = {
            "format": "zayascope-dump",
            "version": 1,
            "status": "partial",
            "tier": "full",
            "created": datetime.now(timezone.utc).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            **description,
            "steps": 0,
            "taps": [_tap_entry(tap, dtypes[tap.name]) for tap in taps],
        }
        self._write_manifest()
        self._names = pa.array([tap.name for tap in taps], pa.string())
        self._stats_schema = _stats_schema()
        self._stats = pa.ipc.new_file(out / "stats.arrow", self._stats_schema)

    def write(self, block: int | None, taps: list[Tap], values: list[torch.Tensor]) -> None:
        """One file of the dump: the values of `taps`, [T, ...] each, of which the selected positions are kept."""
        rows = [self._selected(tap, value) for tap, value in zip(taps, values, strict=True)]
        schema = data_schema(block, taps, self._dtypes)
        with pa.ipc.new_file(self._out / taps[0].file, schema) as writer:
            writer.write_batch(data_batch(schema, taps, rows, self._positions, self._tokens))
        self._stats.write_batch(self._stats_batch(block, taps, rows))

    def close(self) -> None:
        """Finishes the statistics and marks the dump complete."""
        self._stats.close()
        self._manifest |= {"status": "complete", "steps": 1}
        self._write_manifest()

    def _selected(self, tap: Tap, value: torch.Tensor) -> torch.Tensor:
        expected = TORCH[self._dtypes[tap.name]]
        if value.dtype != expected:
            raise DumpError(f"dump: expected {expected} for {tap.name}, got {value.dtype}")
        per_row = tuple(value.shape[1:] if tap.scope == "token" else value.shape)
        fits = len(per_row) == len(tap.shape) and all(e in (None, g) for e, g in zip(tap.shape, per_row))
        if not fits or (tap.scope == "token" and len(value) != len(self._tokens)):
            raise DumpError(f"dump: expected {tap.axes} with rows of {tap.shape}, got {list(value.shape)} for {tap.name}")
        return value[self._positions.start : self._positions.stop] if tap.scope == "token" else value

    def _stats_batch(self, block: int | None, taps: list[Tap], rows: list[torch.Tensor]) -> pa.RecordBatch:
        parts: dict[str, list[np.ndarray]] = {name: [] for name in self._stats_schema.names}
        for tap, value in zip(taps, rows, strict=True):
            at = np.asarray(self._positions, np.int32)
            if tap.scope == "step":
                value, at = value[None], at[-1:]
            stats = row_stats(value.reshape(len(at), -1))
            ids = {"tap": self._numbers[tap.name], "block": -1 if block is None else block, "sequence": 0, "step": 0}
            for name, column in {**{k: np.full(len(at), v, np.int32) for k, v in ids.items()}, "position": at, **stats}.items():
                parts[name].append(column)
        columns = {name: pa.array(np.concatenate(pieces)) for name, pieces in parts.items()}
        columns["tap"] = pa.DictionaryArray.from_arrays(columns["tap"], self._names)
        return pa.RecordBatch.from_arrays([columns[name] for name in self._stats_schema.names], schema=self._stats_schema)

    def _write_manifest(self) -> None:
        temporary = self._out / f"{MANIFEST}.tmp"
        temporary.write_text(json.dumps(self._manifest, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
        os.replace(temporary, self._out / MANIFEST)


def _tap_entry(tap: Tap, dtype: str) -> dict:
    shared = {"name": tap.name, "block": tap.block, "file": tap.file, "dtype": dtype, "scope": tap.scope}
    return {**shared, "axes": list(tap.axes), "shape": list(tap.shape)}


def _stats_schema() -> pa.Schema:
    def column(name: str, kind: pa.DataType) -> pa.Field:
        return pa.field(name, kind, nullable=False)

    return pa.schema(
        [column("tap", pa.dictionary(pa.int32(), pa.string()))]
        + [column(name, pa.int32()) for name in ("block", "sequence", "position", "step", "count")]
        + [column(name, pa.float64()) for name in COLUMNS]
        + [column(name, pa.int32()) for name in ("nan", "inf")],
        {"zayascope.format": "1"},
    )
