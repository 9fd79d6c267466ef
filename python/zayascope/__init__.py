"""Zayascope for Python: dumps of any PyTorch module, and reading and comparing dumps.

    with zayascope.capture(model, "out/ref", tokens=ids):
        model(ids)
    zayascope.load("out/ref")["model.layers.0"].numpy()
    print(zayascope.diff("out/ref", "out/port"))

Reading and comparing need NumPy and pyarrow; `capture` needs PyTorch too.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .comparing.diff import DiffRow, DiffTable, diff
from .errors import DumpError
from .format.reader import Dump, Rows, Value, load
from .version import VERSION as __version__

if TYPE_CHECKING:
    from .recording.capture import Capture, capture

__all__ = ["Capture", "DiffRow", "DiffTable", "Dump", "DumpError", "Rows", "Value", "__version__", "capture", "diff", "load"]


def __getattr__(name: str) -> Any:
    # importing torch takes seconds, which reading a dump must not cost
    if name in ("capture", "Capture"):
        import importlib

        module = importlib.import_module(".recording.capture", __name__)
        globals()["capture"], globals()["Capture"] = module.capture, module.Capture
        return globals()[name]
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
