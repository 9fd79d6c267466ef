"""Selection of taps by pattern, and of positions.

A pattern is a comma list of globs. `*` stays within a segment (between dots and colons), `**` spans anything, `?` is one
character of a segment, `{a,b}` are alternatives (nestable), `{0..3}` a range of numbers. `src/tap-pattern.ts` is the same dialect.
"""

import re

from errors import DumpError

# A longer range of numbers is taken for a typing error.
MAX_RANGE = 10_000


def compile_pattern(pattern: str) -> re.Pattern[str]:
    """A regular expression to `fullmatch` tap names with."""
    globs = [glob.strip() for glob in _split(pattern, pattern)]
    if not all(globs):
        raise DumpError(f"taps: expected a comma list of globs, got {pattern!r}")
    return re.compile("|".join(f"(?:{_translate(glob, pattern)})" for glob in globs))


def parse_positions(text: str, tokens: int) -> range:
    """The positions that `all`, `last` or `a:b` names in a sequence of `tokens` tokens.

    `a:b` is a Python slice: either end may be missing, negative ends count from the back, ends beyond the sequence are cut.
    """
    if text == "all":
        return range(tokens)
    if text == "last":
        return range(tokens - 1, tokens)
    match = re.fullmatch(r"(-?\d+)?:(-?\d+)?", text)
    if match is None:
        raise DumpError(f"positions: expected all, last or a:b, got {text!r}")
    first, end = (None if bound is None else int(bound) for bound in match.groups())
    positions = range(tokens)[first:end]
    if len(positions) == 0:
        raise DumpError(f"positions: expected positions within the {tokens} tokens, got none ({text!r})")
    return positions


def _translate(glob: str, pattern: str) -> str:
    out, i = "", 0
    while i < len(glob):
        if glob.startswith("**", i):
            out += ".*"
            while i < len(glob) and glob[i] == "*":
                i += 1
        elif glob[i] == "{":
            end = _closing_brace(glob, i, pattern)
            out, i = out + _alternatives(glob[i + 1 : end], pattern), end + 1
        else:
            out, i = out + {"*": "[^.:]*", "?": "[^.:]"}.get(glob[i], re.escape(glob[i])), i + 1
    return out


def _alternatives(body: str, pattern: str) -> str:
    match = re.fullmatch(r"(\d+)\.\.(\d+)", body)
    if match is not None:
        numbers = range(int(match[1]), int(match[2]) + 1)
        if not 0 < len(numbers) <= MAX_RANGE:
            raise DumpError(f"taps: expected a rising range, got {{{body}}} in {pattern!r}")
        return f"(?:{'|'.join(str(n) for n in numbers)})"
    options = _split(body, pattern)
    if not any(options):
        raise DumpError(f"taps: expected alternatives in braces, got {{{body}}} in {pattern!r}")
    return f"(?:{'|'.join(_translate(option, pattern) for option in options)})"


def _split(text: str, pattern: str) -> list[str]:
    """Splits at the commas that are outside braces."""
    parts, start, i = [], 0, 0
    while i < len(text):
        if text[i] == "{":
            i = _closing_brace(text, i, pattern)
        elif text[i] == "}":
            raise DumpError(f"taps: expected balanced braces, got a closing one too many in {pattern!r}")
        elif text[i] == ",":
            parts.append(text[start:i])
            start = i + 1
        i += 1
    return [*parts, text[start:]]


def _closing_brace(text: str, start: int, pattern: str) -> int:
    depth = 0
    for i in range(start, len(text)):
        depth += {"{": 1, "}": -1}.get(text[i], 0)
        if depth == 0:
            return i
    raise DumpError(f"taps: expected balanced braces, got one that is not closed in {pattern!r}")
