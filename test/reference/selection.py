"""What the dumper's selection rules make of patterns and positions: JSON in, JSON out.

Input: {"patterns": [...], "names": [...], "positions": [...], "tokens": n}. Output: {"patterns": [matching names or null],
"positions": [[start, end] or null]}, null for what is refused.
"""

import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "dumps" / "reference"))
from errors import DumpError  # noqa: E402
from tap_pattern import compile_pattern, parse_positions  # noqa: E402


def attempt(function, *args):
    try:
        return function(*args)
    except DumpError:
        return None


def matching(pattern: str, names: list[str]) -> list[str]:
    compiled = compile_pattern(pattern)
    return [name for name in names if compiled.fullmatch(name)]


def bounds(text: str, tokens: int) -> list[int]:
    positions = parse_positions(text, tokens)
    return [positions.start, positions.stop]


given = json.load(sys.stdin)
print(json.dumps({
    "patterns": [attempt(matching, pattern, given["names"]) for pattern in given["patterns"]],
    "positions": [attempt(bounds, text, given["tokens"]) for text in given["positions"]],
}))
