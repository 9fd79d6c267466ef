"""Reads dumps back into NumPy: the manifest, one tap at a time."""

import json
from pathlib import Path

import numpy as np
import pyarrow as pa

from errors import DumpError


def read_manifest(dump: Path) -> dict:
    """The parsed manifest of a complete dump of tier full."""
    path = dump / "manifest.json"
    if not path.is_file():
        raise DumpError(f"open dump: expected a manifest.json, found none in {dump}")
    manifest = json.loads(path.read_text(encoding="utf-8"))
    if manifest.get("format") != "zayascope-dump" or manifest.get("version") != 1:
        got = f"{manifest.get('format')} {manifest.get('version')}"
        raise DumpError(f"open dump: expected format zayascope-dump 1, got {got} in {path}")
    if manifest["status"] != "complete" or manifest["tier"] != "full":
        raise DumpError(f"open dump: expected a complete dump of tier full, got {manifest['status']}, {manifest['tier']} in {path}")
    return manifest


class DumpReader:
    """The taps of a dump by name; files are memory-mapped and opened once."""

    def __init__(self, dump: Path) -> None:
        self._dump = dump
        self.manifest = read_manifest(dump)
        self.taps = {tap["name"]: tap for tap in self.manifest["taps"]}
        self._tables: dict[str, pa.Table] = {}

    def read(self, name: str) -> np.ndarray:
        """Values [rows, ...] of a tap, F16 and BF16 widened to float32; a tap of scope step [steps, ...]."""
        tap = self.taps[name]
        column = self._table(tap["file"]).column(name).combine_chunks()
        shape = list(tap["shape"])
        if f"{name}#shape" in self._table(tap["file"]).column_names:
            column = column.drop_null()
            shapes = self._table(tap["file"]).column(f"{name}#shape").combine_chunks().drop_null().to_pylist()
            if any(row != shapes[0] for row in shapes):
                raise DumpError(f"read: expected rows of one shape, got several for {name} in {self._dump}")
            shape = shapes[0]
            values = column.flatten().to_numpy()
        elif isinstance(column, pa.ExtensionArray):
            values = column.storage.flatten().to_numpy()
        else:
            values = column.to_numpy()
        return widen(values, tap["dtype"]).reshape(-1, *shape)

    def _table(self, file: str) -> pa.Table:
        if file not in self._tables:
            self._tables = {file: pa.ipc.open_file(pa.memory_map(str(self._dump / file))).read_all()}
        return self._tables[file]


def widen(values: np.ndarray, dtype: str) -> np.ndarray:
    """Stored values as numbers: the bits of F16 and BF16 become float32."""
    if dtype == "BF16":
        return (values.astype(np.uint32) << 16).view(np.float32)
    if dtype == "F16":
        return values.view(np.float16).astype(np.float32)
    return values
