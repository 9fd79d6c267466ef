"""The error of these scripts: that of the package in `python/`, which they use from the checkout."""

import sys
from pathlib import Path

PACKAGE = str(Path(__file__).resolve().parents[2] / "python")
if PACKAGE not in sys.path:
    sys.path.insert(0, PACKAGE)

from zayascope.errors import DumpError  # noqa: E402

__all__ = ["DumpError"]
