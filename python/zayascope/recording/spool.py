"""Holds the values of one call: in memory up to a limit, beyond it in a file without a name."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np

#: Bytes of one call that stay in memory.
LIMIT = 256 * 2**20


class Spool:
    """Keeps copies of arrays until `clear`."""

    def __init__(self, folder: Path, limit: int | None = None) -> None:
        self._folder = folder
        self._limit = LIMIT if limit is None else limit
        self._bytes = 0
        self._file: tempfile._TemporaryFileWrapper | None = None

    def keep(self, values: np.ndarray, owned: bool) -> np.ndarray:
        """The values, safe from later changes: `owned` says that nobody else has this memory."""
        if values.nbytes == 0 or self._bytes + values.nbytes <= self._limit:
            self._bytes += values.nbytes
            return values if owned else values.copy()
        if self._file is None:
            self._file = tempfile.TemporaryFile(dir=self._folder)
        self._file.seek(0, 2)
        start = self._file.tell()
        self._file.write(memoryview(np.ascontiguousarray(values)).cast("B"))
        self._file.flush()
        return np.memmap(self._file, values.dtype, "r", start, values.shape)

    def clear(self) -> None:
        """Forgets the arrays: what `keep` gave must no longer be used."""
        self._bytes = 0
        if self._file is not None:
            self._file.close()
            self._file = None
