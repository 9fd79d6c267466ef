"""Compares two dumps: `print(zayascope.diff("out/a", "out/b"))`."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..format.columns import element_shape
from ..format.dtypes import INTEGERS, QUANTISED, widen
from ..errors import DumpError
from .metrics import FloatErrors
from ..format.pattern import compile_pattern
from ..format.reader import Dump, Value, load

#: Where a row stands: sequence and token position.
Place = tuple[int, int]


@dataclass(frozen=True)
class DiffRow:
    """One tap that both dumps hold. Integers are compared for equality: `differing` counts, the errors are None."""

    name: str
    block: int | None
    dtype_a: str
    dtype_b: str
    rows: int
    elements: int
    #: Energy NMSE, sum (a-b)^2 / sum a^2.
    nmse: float | None
    #: Variance NMSE, mean((a-b)^2) / var(a).
    nmse_variance: float | None
    max_abs: float | None
    cosine: float | None
    #: Pairs that are not finite (equal infinities of masked values excepted); one makes the errors infinite.
    non_finite: int
    #: Elements that differ, of integers; None for floats.
    differing: int | None
    #: Every element has the same bits.
    identical: bool

    def within(self, limit: float) -> bool:
        """True if the energy NMSE is at most `limit`; for integers, if none differs."""
        if self.differing is not None:
            return self.differing == 0
        return self.nmse is not None and self.nmse <= limit and self.non_finite == 0


class DiffTable(list[DiffRow]):
    """The rows of a diff, in the reference's order. With pandas, `frame()` gives a data frame, and so do its methods: `table.sort_values("nmse")`."""

    def __init__(self, rows: list[DiffRow], unpaired: list[str], compared: tuple[str, str]) -> None:
        super().__init__(rows)
        #: What one side has and the other lacks, or what does not fit: one sentence each.
        self.unpaired = unpaired
        self._compared = compared

    def passes(self, limit: float) -> bool:
        """True if something was compared, nothing is unpaired, and every row is within `limit` (energy NMSE)."""
        return len(self) > 0 and not self.unpaired and all(row.within(limit) for row in self)

    def first_above(self, limit: float = 0.0) -> DiffRow | None:
        """The first row, in order of execution, that is not within `limit`."""
        return next((row for row in self if not row.within(limit)), None)

    def frame(self) -> Any:
        """The table as a pandas DataFrame. DumpError where pandas is not installed."""
        try:
            import pandas
        except ImportError as error:
            raise DumpError("diff: expected pandas to make a frame, it is not installed") from error
        return pandas.DataFrame([asdict(row) for row in self], columns=list(DiffRow.__dataclass_fields__))

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        try:
            import pandas  # noqa: F401
        except ImportError:
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}, and pandas is not installed") from None
        return getattr(self.frame(), name)

    def _repr_html_(self) -> str | None:
        try:
            return self.frame()._repr_html_()
        except DumpError:
            return None

    def __str__(self) -> str:
        header = ("tap", "dtypes", "rows", "NMSE", "var. NMSE", "max abs", "cosine", "note")
        lines = [header, *(_cells(row) for row in self)]
        widths = [max(len(line[k]) for line in lines) for k in range(len(header))]
        pad = [str.ljust, str.ljust, str.rjust, str.rjust, str.rjust, str.rjust, str.rjust, str.ljust]
        table = ["  ".join(f(cell, width) for f, cell, width in zip(pad, line, widths)).rstrip() for line in lines]
        same = sum(row.identical for row in self)
        title = f"{self._compared[0]} (reference) against {self._compared[1]}: {len(self)} taps compared, {same} identical"
        return "\n".join([title, *table, *(f"unpaired: {sentence}" for sentence in self.unpaired)])

    __repr__ = __str__


def diff(reference: Dump | str | Path, tested: Dump | str | Path, taps: str = "**") -> DiffTable:
    """Compares every tap that matches `taps` and that either dump holds, row by row at equal sequence and position.

    Values of scope step pair at equal last position. DumpError for a bad pattern, or a dump that cannot be read.
    """
    a = reference if isinstance(reference, Dump) else load(reference)
    b = tested if isinstance(tested, Dump) else load(tested)
    pattern = compile_pattern(taps)
    rows: list[DiffRow] = []
    unpaired: list[str] = []
    for name in (name for name in a if pattern.fullmatch(name)):
        if name not in b:
            unpaired.append(f"{name} is only in {a.path.name}")
            continue
        row, problems = _compare(a[name], b[name])
        unpaired += [f"{name}: {problem}" for problem in problems]
        if row is not None:
            rows.append(row)
    unpaired += [f"{name} is only in {b.path.name}" for name in b if name not in a and pattern.fullmatch(name)]
    return DiffTable(rows, unpaired, (str(a.path.name), str(b.path.name)))


def _compare(a: Value, b: Value) -> tuple[DiffRow | None, list[str]]:
    if (a.dtype in INTEGERS) != (b.dtype in INTEGERS) or a.spec.scope != b.spec.scope:
        return None, [f"{a.dtype} per {a.spec.scope} and {b.dtype} per {b.spec.scope} cannot be compared"]
    problems: list[str] = []
    floats = FloatErrors(a.spec.masked or b.spec.masked)
    count = differing = elements = 0
    same = a.dtype == b.dtype
    for left, right, problem in _pairs(a, b):
        if problem is not None:
            problems.append(problem)
            continue
        count += len(left)
        elements += _elements(a, left)
        if a.dtype in INTEGERS:
            differing += _differing(left, right)
        else:
            same = same and left.tobytes() == right.tobytes()
            floats.add(widen(left, a.dtype), widen(right, b.dtype))
    if count == 0:
        return None, problems or ["no rows on either side"]
    shared = (a.name, a.spec.block, a.dtype, b.dtype, count, elements)
    if a.dtype in INTEGERS:
        return DiffRow(*shared, None, None, None, None, 0, differing, same and differing == 0), problems
    found = floats.result()
    errors = (found["nmse"], found["nmse_variance"], found["max_abs"], found["cosine"], found["non_finite"])
    return DiffRow(*shared, *errors, None, same and found["non_finite"] == 0), problems


def _pairs(a: Value, b: Value) -> Iterator[tuple[np.ndarray, np.ndarray, str | None]]:
    """Rows of both sides at the same place, as stored, in runs as long as both sides allow; or what keeps rows from pairing."""
    places_a, places_b = _places(a), _places(b)
    none = np.zeros(0)
    for side, mine, other in (("reference", places_a, places_b), ("tested", places_b, places_a)):
        missing = [place for place in mine if place not in other]
        if missing:
            where = f"sequence {missing[0][0]} position {missing[0][1]}"
            yield none, none, f"{len(missing)} rows only on the {side} side, the first at {where}"
    parts_a, parts_b = list(a.parts()), list(b.parts())
    run: list[tuple[tuple[int, int], tuple[int, int]]] = []
    for place in [place for place in places_a if place in places_b]:
        at = (places_a[place], places_b[place])
        if run and not all(now == (last[0], last[1] + 1) for now, last in zip(at, run[-1])):
            yield _run(a, b, parts_a, parts_b, run)
            run = []
        run.append(at)
    if run:
        yield _run(a, b, parts_a, parts_b, run)


def _run(a: Value, b: Value, parts_a: list, parts_b: list, run: list) -> tuple[np.ndarray, np.ndarray, str | None]:
    (part_a, row_a), (part_b, row_b) = run[0]
    left = parts_a[part_a].values[row_a : row_a + len(run)]
    right = parts_b[part_b].values[row_b : row_b + len(run)]
    shape_a, shape_b = element_shape(a.spec, left.shape[1:]), element_shape(b.spec, right.shape[1:])
    if shape_a != shape_b:
        where = f"sequence {parts_a[part_a].sequence[row_a]} position {parts_a[part_a].position[row_a]}"
        return left, right, f"rows of {list(shape_a)} and {list(shape_b)} at {where}"
    return left, right, None


def _places(value: Value) -> dict[Place, tuple[int, int]]:
    """Which part and row holds each place; of a place that was computed twice, the last."""
    places: dict[Place, tuple[int, int]] = {}
    for number, part in enumerate(value.parts()):
        for row, place in enumerate(zip(part.sequence.tolist(), part.position.tolist())):
            places[place] = (number, row)
    return places


def _elements(value: Value, rows: np.ndarray) -> int:
    if value.dtype not in QUANTISED:
        return int(rows.size)
    block, size = QUANTISED[value.dtype]
    return int(rows.size) // size * block


def _differing(left: np.ndarray, right: np.ndarray) -> int:
    """Entries that differ, exactly, whatever the widths of the integers."""
    return int((left.astype(np.int64) != right.astype(np.int64)).sum())


def _cells(row: DiffRow) -> tuple[str, ...]:
    dtypes = row.dtype_a if row.dtype_a == row.dtype_b else f"{row.dtype_a}/{row.dtype_b}"
    note = "identical" if row.identical else f"{row.non_finite} not finite" if row.non_finite else ""
    if row.differing is not None:
        note = note or f"{row.differing} of {row.elements} differ"
        return (row.name, dtypes, str(row.rows), "", "", "", "", note)
    cosine = "" if row.cosine is None else f"{row.cosine:.6f}"
    numbers = (f"{number:.1e}" for number in (row.nmse, row.nmse_variance, row.max_abs) if number is not None)
    return (row.name, dtypes, str(row.rows), *numbers, cosine, note)
