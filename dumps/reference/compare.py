"""Compares two dumps tap by tap and prints JSON.

    python dumps/reference/compare.py REFERENCE TESTED

Output: {"taps": [{"name", "nmse", "maxAbs", "equal"}], "missing": [names], "extra": [names], "worst": {name, nmse}}.
nmse is the energy NMSE, sum (a-b)^2 / sum a^2 in float64; where the reference is all zero it is sum (a-b)^2.
Exit code 0: compared, whatever the result. 2: a dump cannot be read, shapes differ, or a value is not finite.
"""

import json
import sys
from pathlib import Path

import numpy as np

from dump_reader import DumpReader
from errors import DumpError


def main(arguments: list[str] | None = None) -> int:
    folders = sys.argv[1:] if arguments is None else arguments
    if len(folders) != 2:
        print("compare.py: expected two folders: REFERENCE TESTED", file=sys.stderr)
        return 2
    try:
        print(json.dumps(compare(Path(folders[0]), Path(folders[1])), allow_nan=False))
    except (DumpError, OSError) as error:
        print(f"compare.py: {error}", file=sys.stderr)
        return 2
    return 0


def compare(reference: Path, tested: Path) -> dict:
    """The comparison of two dump folders, as printed."""
    a, b = DumpReader(reference), DumpReader(tested)
    shared = [name for name in a.taps if name in b.taps]
    taps = [_compare_tap(name, a.read(name), b.read(name)) for name in shared]
    return {
        "taps": taps,
        "missing": [name for name in a.taps if name not in b.taps],
        "extra": [name for name in b.taps if name not in a.taps],
        "worst": max(({"name": tap["name"], "nmse": tap["nmse"]} for tap in taps), key=lambda tap: tap["nmse"], default=None),
    }


def _compare_tap(name: str, a: np.ndarray, b: np.ndarray) -> dict:
    if a.shape != b.shape:
        raise DumpError(f"compare: expected equal shapes, got {list(a.shape)} and {list(b.shape)} for {name}")
    wide_a, wide_b = a.astype(np.float64), b.astype(np.float64)
    if not (np.isfinite(wide_a).all() and np.isfinite(wide_b).all()):
        raise DumpError(f"compare: expected finite values, got NaN or infinity in {name}")
    difference = wide_a - wide_b
    energy, error = float((wide_a * wide_a).sum()), float((difference * difference).sum())
    return {
        "name": name,
        "nmse": error / energy if energy > 0 else error,
        "maxAbs": float(np.abs(difference).max()),
        "equal": a.tobytes() == b.tobytes(),
    }


if __name__ == "__main__":
    sys.exit(main())
