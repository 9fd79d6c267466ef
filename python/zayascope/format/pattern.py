"""Selection of taps by pattern, and of positions.

A pattern is a comma list of globs. `*` stays within a segment (between dots and colons), `**` spans anything, `?` is one
character of a segment, `{a,b}` are alternatives (nestable), `{0..3}` a range of numbers. `src/tap-pattern.ts` is the same dialect.

Patterns compile to an automaton: matching takes time in proportion to the name's length, whatever the pattern.
"""

from __future__ import annotations

import re

from ..errors import DumpError

# A longer range of numbers is taken for a typing error.
MAX_RANGE = 10_000
# States of all alternatives together; a larger pattern is taken for a mistake.
MAX_STATES = 1_000_000
# Sets of states remembered between characters; beyond this they are forgotten and made anew.
MAX_CACHED = 10_000

_ANY, _SEGMENT = "any", "segment"


class Pattern:
    """A compiled tap pattern."""

    def __init__(self, pattern: str) -> None:
        self.pattern = pattern
        # A state is a list of (label, target): label None is free, _ANY and _SEGMENT are classes, others one character.
        self._edges: list[list[tuple[str | None, int]]] = []
        start, self._end = self._state(), self._state()
        globs = [glob.strip() for glob in _split(pattern, pattern)]
        if not all(globs):
            raise DumpError(f"taps: expected a comma list of globs, got {pattern!r}")
        for glob in globs:
            self._edges[self._glob(glob, start)].append((None, self._end))
        self._start = self._closure({start})
        self._next: dict[tuple[frozenset[int], str], frozenset[int]] = {}

    def fullmatch(self, name: str) -> bool:
        """True if the pattern matches the whole name."""
        states = self._start
        for char in name:
            key = (states, char)
            following = self._next.get(key)
            if following is None:
                if len(self._next) >= MAX_CACHED:
                    self._next.clear()
                following = self._next[key] = self._step(states, char)
            states = following
            if not states:
                return False
        return self._end in states

    def _state(self) -> int:
        if len(self._edges) >= MAX_STATES:
            raise DumpError(f"taps: expected a shorter pattern, got one of more than {MAX_STATES} states")
        self._edges.append([])
        return len(self._edges) - 1

    def _glob(self, glob: str, start: int) -> int:
        """Adds a glob behind `start`; returns its end."""
        at, i = start, 0
        while i < len(glob):
            char = glob[i]
            if char == "*":
                run = len(glob) - i - len(glob[i:].lstrip("*"))
                loop = self._state()
                self._edges[at].append((None, loop))
                self._edges[loop].append((_ANY if run > 1 else _SEGMENT, loop))
                at, i = loop, i + run
                continue
            following = self._state()
            if char == "{":
                end = _closing_brace(glob, i, self.pattern)
                for option in _options(glob[i + 1 : end], self.pattern):
                    self._edges[self._glob(option, at) if option else at].append((None, following))
                i = end
            else:
                self._edges[at].append((_SEGMENT if char == "?" else char, following))
            at, i = following, i + 1
        return at

    def _closure(self, states: set[int]) -> frozenset[int]:
        seen, open_states = set(states), list(states)
        while open_states:
            for label, target in self._edges[open_states.pop()]:
                if label is None and target not in seen:
                    seen.add(target)
                    open_states.append(target)
        return frozenset(seen)

    def _step(self, states: frozenset[int], char: str) -> frozenset[int]:
        inner = char not in ".:"
        reached = {
            target
            for state in states
            for label, target in self._edges[state]
            if label == char or label is _ANY or (inner and label is _SEGMENT)
        }
        return self._closure(reached)


def compile_pattern(pattern: str) -> Pattern:
    """A compiled pattern to `fullmatch` tap names with. DumpError for an empty glob, unbalanced braces or a range that runs backwards."""
    return Pattern(pattern)


def parse_positions(text: str, tokens: int) -> range:
    """The positions that `all`, `last` or `a:b` names in a sequence of `tokens` tokens.

    `a:b` is a Python slice: either end may be missing, negative ends count from the back, ends beyond the sequence are cut.
    """
    if text == "all":
        return range(tokens)
    if text == "last":
        return range(tokens - 1, tokens)
    match = re.fullmatch(r"(-?[0-9]+)?:(-?[0-9]+)?", text)
    if match is None:
        raise DumpError(f"positions: expected all, last or a:b, got {text!r}")
    first, end = (None if bound is None else int(bound) for bound in match.groups())
    positions = range(tokens)[first:end]
    if len(positions) == 0:
        raise DumpError(f"positions: expected positions within the {tokens} tokens, got none ({text!r})")
    return positions


def _options(body: str, pattern: str) -> list[str]:
    match = re.fullmatch(r"([0-9]+)\.\.([0-9]+)", body)
    if match is not None:
        numbers = range(int(match[1]), int(match[2]) + 1)
        if not 0 < len(numbers) <= MAX_RANGE:
            raise DumpError(f"taps: expected a rising range, got {{{body}}} in {pattern!r}")
        return [str(number) for number in numbers]
    options = _split(body, pattern)
    if not any(options):
        raise DumpError(f"taps: expected alternatives in braces, got {{{body}}} in {pattern!r}")
    return options


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
