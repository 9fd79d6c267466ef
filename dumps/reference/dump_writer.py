"""Writes a dump folder: manifest, one Arrow file per block, statistics; one record batch for each call and sequence."""

from datetime import datetime, timezone
from pathlib import Path

import numpy as np
import pyarrow as pa
import torch

from arrow_columns import DTYPE_OF, TORCH, data_batch, tap_spec
from calls import Rows
from errors import DumpError
from row_stats import COLUMNS, row_stats
from taps import Tap
from zayascope.format.columns import TapSpec, data_schema, needs_version_2
from zayascope.format.manifest import write_manifest


class DumpWriter:
    """Streams taps, block by block and call by call. `description` is the manifest without version, status, steps and taps.

    `dtypes` says what is expected of each tap; what the manifest and the files say in the end is the dtype of its first value.
    """

    def __init__(self, out: Path, description: dict, taps: list[Tap], dtypes: dict[str, str]) -> None:
        self._out = out
        self._taps = taps
        self._dtypes = dict(dtypes)
        self._tokens = [sequence["tokens"] for sequence in description["sequences"]]
        self._numbers = {tap.name: number for number, tap in enumerate(taps)}
        self._files: dict[str, tuple[pa.Schema, pa.RecordBatchFileWriter, list[str]]] = {}
        self._not_run: dict[str, str] = {}
        self._manifest = {
            "format": "zayascope-dump",
            "version": 1,
            "status": "partial",
            "tier": "full",
            "created": datetime.now(timezone.utc).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            **description,
            "steps": 0,
            "taps": [],
        }
        self._list_taps()
        write_manifest(self._out, self._manifest)
        self._names = pa.array([tap.name for tap in taps], pa.string())
        self._stats_schema = _stats_schema()
        self._stats = pa.ipc.new_file(out / "stats.arrow", self._stats_schema)

    def write(self, block: int | None, values: dict[str, torch.Tensor], rows: Rows, missing: dict[str, str]) -> None:
        """One sequence's part of one call: values of the taps of a block in order, [R, ...] each, by tap name.

        `missing` says why taps of the block have no value: they are reported as not run. A tap must have a value in every call or in none.
        """
        taps = [tap for tap in self._taps if tap.block == block and tap.name in values]
        self._not_run |= missing
        if not taps:
            return
        file = self._files.get(taps[0].file)
        if file is None:
            for tap in taps:
                self._dtypes[tap.name] = self._dtype(tap, values[tap.name])
            schema = data_schema(block, map(self._spec, taps), self._version())
            file = (schema, pa.ipc.new_file(self._out / taps[0].file, schema), [tap.name for tap in taps])
            self._files[taps[0].file] = file
        schema, writer, names = file
        if names != list(values):
            name = sorted(set(names) ^ set(values))[0]
            raise DumpError(f"dump: expected a value of {name} in every call or in none, got one in some (call {rows.step})")
        kept = [self._checked(tap, values[tap.name], rows) for tap in taps]
        writer.write_batch(data_batch(schema, [self._spec(tap) for tap in taps], kept, rows, self._tokens[rows.sequence]))
        self._stats.write_batch(self._stats_batch(block, taps, kept, rows))

    def close(self, steps: int) -> None:
        """Finishes all files and marks the dump complete."""
        for _, writer, _ in self._files.values():
            writer.close()
        self._stats.close()
        self._list_taps()
        self._manifest |= {"version": self._version(), "status": "complete", "steps": steps}
        if self._not_run:
            self._manifest["notRun"] = [{"name": name, "reason": reason} for name, reason in self._not_run.items()]
        write_manifest(self._out, self._manifest)

    @property
    def not_run(self) -> dict[str, str]:
        """Why taps have no value, by name."""
        return self._not_run

    def _version(self) -> int:
        later = any(needs_version_2(self._spec(tap)) for tap in self._taps if tap.name not in self._not_run)
        return 2 if later or self._not_run else 1

    def _spec(self, tap: Tap) -> TapSpec:
        return tap_spec(tap, self._dtypes[tap.name])

    def _list_taps(self) -> None:
        present = [tap for tap in self._taps if tap.name not in self._not_run]
        self._manifest["taps"] = [self._spec(tap).entry() for tap in present]

    def _dtype(self, tap: Tap, value: torch.Tensor) -> str:
        if value.dtype not in DTYPE_OF:
            raise DumpError(f"dump: expected one of {', '.join(TORCH)} for {tap.name}, got {value.dtype}")
        return DTYPE_OF[value.dtype]

    def _checked(self, tap: Tap, value: torch.Tensor, rows: Rows) -> torch.Tensor:
        dtype = TORCH[self._dtypes[tap.name]]
        if torch.promote_types(value.dtype, dtype) != dtype:
            raise DumpError(f"dump: expected {dtype} for {tap.name} as in the calls before, got {value.dtype} (call {rows.step})")
        per_row = tuple(value.shape[1:] if tap.scope == "token" else value.shape)
        fits = len(per_row) == len(tap.shape) and all(e in (None, g) for e, g in zip(tap.shape, per_row))
        if not fits or (tap.scope == "token" and len(value) != len(rows.positions)):
            raise DumpError(f"dump: expected {tap.axes} with rows of {tap.shape}, got {list(value.shape)} for {tap.name}")
        return value.to(dtype)

    def _stats_batch(self, block: int | None, taps: list[Tap], values: list[torch.Tensor], rows: Rows) -> pa.RecordBatch:
        parts: dict[str, list[np.ndarray]] = {name: [] for name in self._stats_schema.names}
        for tap, value in zip(taps, values, strict=True):
            at = np.asarray(rows.positions, np.int32)
            if tap.scope == "step":
                value, at = value[None], at[-1:]
            stats = row_stats(value.reshape(len(at), -1))
            ids = {
                "tap": self._numbers[tap.name],
                "block": -1 if block is None else block,
                "sequence": rows.sequence,
                "step": rows.step,
            }
            for name, column in {**{k: np.full(len(at), v, np.int32) for k, v in ids.items()}, "position": at, **stats}.items():
                parts[name].append(column)
        columns = {name: pa.array(np.concatenate(pieces)) for name, pieces in parts.items()}
        columns["tap"] = pa.DictionaryArray.from_arrays(columns["tap"], self._names)
        return pa.RecordBatch.from_arrays([columns[name] for name in self._stats_schema.names], schema=self._stats_schema)


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
