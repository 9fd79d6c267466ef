"""Names of taps: which are allowed, and their natural order."""

from __future__ import annotations

import re

from ..errors import DumpError

INDEX_COLUMNS = ("sequence", "position", "token_id", "step")
#: Longest name, in UTF-16 units.
MAX_UNITS = 1024


def check_name(name: object, operation: str = "dump") -> str:
    """The name, if it may be a tap's: well-formed Unicode without control characters, at most 1,024 UTF-16 units, and no column of its own.

    DumpError otherwise. Time grows with the name's length.
    """
    problem = _problem(name)
    if problem is not None:
        shown = repr(name) if len(repr(name)) <= 80 else repr(name)[:77] + "..."
        raise DumpError(f"{operation}: expected a tap name {problem}, got {shown}")
    return str(name)


def _problem(name: object) -> str | None:
    if not isinstance(name, str) or name == "":
        return "that is a non-empty string"
    units = 0
    for char in name:
        code = ord(char)
        if 0xD800 <= code <= 0xDFFF:
            return "of well-formed Unicode"
        if code < 0x20 or code == 0x7F:
            return "without control characters"
        units += 2 if code > 0xFFFF else 1
    if units > MAX_UNITS:
        return f"of at most {MAX_UNITS} UTF-16 units"
    if name in INDEX_COLUMNS or name.endswith("#shape"):
        return "that no other column of the file has"
    return None


def natural_key(name: str) -> list[tuple[int, int, str]]:
    """Sort key that compares numbers in names as numbers: `layers.2` before `layers.10`."""
    parts = re.split(r"([0-9]+)", name)
    return [(0, int(part), "") if part[:1].isdigit() and part.isascii() else (1, 0, part) for part in parts if part != ""]
