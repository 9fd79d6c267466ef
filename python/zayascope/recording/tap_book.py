"""The taps found so far: their order, dtype, scope and shape, which become wider as calls differ."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from ..format.columns import TapSpec
from .layout import Layout


@dataclass(frozen=True)
class Seen:
    """A value of the running call: its tap's name as the model gives it, its stored array, and what it is."""

    name: str
    values: np.ndarray
    dtype: str
    layout: Layout | None
    role: str | None = None
    at: np.ndarray | None = None


@dataclass
class _Tap:
    spec: TapSpec
    layout: Layout | None
    rank: int


class TapBook:
    """All taps of a dump in order of execution. A value that differs from its namesake in dtype, rank or layout is a tap of its own, `name~2`."""

    def __init__(self) -> None:
        self.order: list[str] = []
        self._taps: dict[str, _Tap] = {}

    def specs(self) -> list[TapSpec]:
        """The taps in order."""
        return [self._taps[name].spec for name in self.order]

    def spec(self, name: str) -> TapSpec:
        """One tap."""
        return self._taps[name].spec

    def layout(self, name: str) -> Layout | None:
        """Layout of the tap of this name, if there is one of scope token."""
        tap = self._taps.get(name)
        return None if tap is None else tap.layout

    def names(self) -> set[str]:
        """All names."""
        return set(self.order)

    def admit(self, seen: list[tuple[Seen, int | None, tuple[int, ...]]]) -> dict[str, str]:
        """Takes a call's values (each with its block and its shape per row or step) in order; returns the tap's name for each value's name."""
        names: dict[str, str] = {}
        places = {name: number for number, name in enumerate(self.order)}
        # new taps stand behind the value that came before them in this call
        added: dict[int, list[str]] = {}
        at = 0
        for value, block, shape in seen:
            name = self._name(value)
            names[value.name] = name
            if name in self._taps:
                self._widen(name, value, shape)
                at = places.get(name, at - 1) + 1
                continue
            sizes = tuple(size if size > 0 else None for size in shape)
            scope = "step" if value.layout is None else "token"
            axes = tuple(f"d{axis}" for axis in range(len(shape))) if value.layout is None else value.layout.axes(value.values.ndim)
            spec = TapSpec(name, block, value.dtype, scope, axes, sizes, nullable=value.at is not None)
            self._taps[name] = _Tap(spec, value.layout, value.values.ndim)
            added.setdefault(at, []).append(name)
        if added:
            order = [name for number in range(len(self.order) + 1) for name in (*added.get(number, ()), *self.order[number : number + 1])]
            self.order = order
        return names

    def miss(self, name: str) -> None:
        """A call had no value for this tap: its rows are null there."""
        tap = self._taps[name]
        if tap.spec.scope == "token":
            tap.spec = replace(tap.spec, nullable=True)

    def _name(self, value: Seen) -> str:
        name, number = value.name, 1
        while name in self._taps:
            tap = self._taps[name]
            if (tap.spec.dtype, tap.layout, tap.rank) == (value.dtype, value.layout, value.values.ndim):
                return name
            number += 1
            name = f"{value.name}~{number}"
        return name

    def _widen(self, name: str, value: Seen, shape: tuple[int, ...]) -> None:
        tap = self._taps[name]
        sizes = tuple(a if a == b else None for a, b in zip(tap.spec.shape, shape))
        tap.spec = replace(tap.spec, shape=sizes, nullable=tap.spec.nullable or value.at is not None)
