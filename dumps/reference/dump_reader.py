"""Reads dumps back into NumPy, through the package in `python/`: the manifest, one tap at a time."""

from pathlib import Path

import errors
import numpy as np
from zayascope.format.reader import load


class DumpReader:
    """The taps of a complete dump of tier full, by name; files are memory-mapped and opened once."""

    def __init__(self, dump: Path) -> None:
        self._dump = load(dump)
        self.manifest = self._dump.manifest
        self.taps = {tap["name"]: tap for tap in self.manifest["taps"]}
        if self._dump.partial:
            raise errors.DumpError(f"open dump: expected a complete dump, got a partial one in {dump}")

    def read(self, name: str) -> np.ndarray:
        """Values [rows, ...] of a tap, F16 and BF16 widened to float32; a tap of scope step [steps, ...]."""
        return self._dump[name].numpy()
