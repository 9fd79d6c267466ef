"""Selection of taps by pattern, and of positions.

A pattern is a comma list of globs. `*` stays within a segment (between dots and colons), `**` spans anything, `?` is one
character of a segment, `{a,b}` are alternatives, `{0..3}` a range of numbers.
"""

import re

from errors import DumpError


def compile_pattern(pattern: str) -> re.Pattern[str]:
    """A regular expression to `fullmatch` tap names with."""
    parts = [part.strip() for part in _split(pattern)]
    if not all(parts):
        raise DumpError(f"taps: expected a comma list of globs, got {pattern!r}")
    return re.compile("|".join(f"(?:{_translate(part, pattern)})" for part in parts))


def parse_positions(text: str, tokens: int) -> range:
    """`all`, `last`, or `a:b` (from a up to but without b) as a range of positions of a sequence of `tokens` tokens."""
    if text == "all":
        return range(tokens)
    if text == "last":
        return range(tokens - 1, tokens)
    match = re.fullmatch(r"(\d+):(\d+)", text)
    if match is None:
        raise DumpError(f"positions: expected all, last or a:b, got {text!r}")
    first, end = int(match[1]), int(match[2])
    if not first < end <= tokens:
        raise DumpError(f"positions: expected a:b with a < b <= {tokens} (the number of tokens), got {text!r}")
    return range(first, end)


def _split(text: str) -> list[str]:
    """Splits at commas outside braces."""
    parts, depth = [""], 0
    for char in text:
        depth += {"{": 1, "}": -1}.get(char, 0)
        if char == "," and depth == 0:
            parts.append("")
        else:
            parts[-1] += char
    return parts


def _translate(glob: str, pattern: str) -> str:
    out, i = "", 0
    while i < len(glob):
        if glob.startswith("**", i):
            out, i = out + ".*", i + 2
        elif glob[i] == "*":
            out, i = out + "[^.:]*", i + 1
        elif glob[i] == "?":
            out, i = out + "[^.:]", i + 1
        elif glob[i] == "{":
            end = _closing_brace(glob, i, pattern)
            out, i = out + _alternatives(glob[i + 1 : end], pattern), end + 1
        else:
            out, i = out + re.escape(glob[i]), i + 1
    return out


def _closing_brace(glob: str, start: int, pattern: str) -> int:
    depth = 0
    for i in range(start, len(glob)):
        depth += {"{": 1, "}": -1}.get(glob[i], 0)
        if depth == 0:
            return i
    raise DumpError(f"taps: expected a closing brace, got {pattern!r}")


def _alternatives(body: str, pattern: str) -> str:
    match = re.fullmatch(r"(\d+)\.\.(\d+)", body)
    if match is not None:
        first, last = int(match[1]), int(match[2])
        if first > last:
            raise DumpError(f"taps: expected a rising range, got {{{body}}} in {pattern!r}")
        return f"(?:{'|'.join(str(n) for n in range(first, last + 1))})"
    return f"(?:{'|'.join(_translate(part, pattern) for part in _split(body))})"
