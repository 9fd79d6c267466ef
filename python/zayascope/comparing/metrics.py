"""Error metrics of a tested value against a reference, accumulated in float64 over parts, as the product defines them.

Elements that are not finite enter no sum. A pair that is not finite on both sides alike counts as a mismatch, and one mismatch makes
every error of magnitude infinite. So does the same NaN or infinity on both sides, except an equal infinity in a masked value: a
value that is not finite never passes unseen.
"""

from __future__ import annotations

import math

import numpy as np

CHUNK_ELEMENTS = 1 << 20


class FloatErrors:
    """Sums over pairs of floating values."""

    def __init__(self, masked: bool = False) -> None:
        self._masked = masked
        self._squared_error = self._squared_a = self._squared_b = self._product = 0.0
        self._shift: float | None = None
        self._shifted = self._shifted_squares = 0.0
        self._finite = 0
        self.elements = 0
        self.max_abs = 0.0
        self.non_finite = 0
        self.masked_equal = 0
        self.identical = True

    def add(self, a: np.ndarray, b: np.ndarray) -> None:
        """Adds a part: `a` of the reference, `b` of the tested value, of the same shape."""
        a, b = a.reshape(-1), b.reshape(-1)
        for start in range(0, len(a), CHUNK_ELEMENTS):
            self._add(a[start : start + CHUNK_ELEMENTS], b[start : start + CHUNK_ELEMENTS])

    def _add(self, a: np.ndarray, b: np.ndarray) -> None:
        self.elements += len(a)
        self.identical &= a.dtype == b.dtype and a.tobytes() == b.tobytes()
        x, y = a.astype(np.float64), b.astype(np.float64)
        finite = np.isfinite(x) & np.isfinite(y)
        if not finite.all():
            odd = int((~finite).sum())
            equal = int((np.isinf(x) & (x == y)).sum()) if self._masked else 0
            self.masked_equal += equal
            self.non_finite += odd - equal
            x, y = x[finite], y[finite]
        if len(x) == 0:
            return
        if self._shift is None:
            # around some value of the tensor: exact for constant ones, and no cancellation for a large mean
            self._shift = float(x[0])
        error = x - y
        self._finite += len(x)
        self._squared_error += float(error @ error)
        self._squared_a += float(x @ x)
        self._squared_b += float(y @ y)
        self._product += float(x @ y)
        shifted = x - self._shift
        self._shifted += float(shifted.sum())
        self._shifted_squares += float(shifted @ shifted)
        self.max_abs = max(self.max_abs, float(np.abs(error).max()))

    def result(self) -> dict[str, float | int | bool]:
        """`nmse` (energy), `nmse_variance`, `max_abs`, `cosine`, `elements`, `non_finite`, `masked_equal`, `identical`."""
        n = self._finite
        variance = max(0.0, self._shifted_squares / n - (self._shifted / n) ** 2) if n else 0.0
        wrong = self.non_finite > 0
        return {
            "nmse": math.inf if wrong else _ratio(self._squared_error, self._squared_a),
            "nmse_variance": math.inf if wrong else _ratio(self._squared_error / n if n else 0.0, variance),
            "max_abs": math.inf if wrong else self.max_abs,
            "cosine": _cosine(self._product, self._squared_a, self._squared_b),
            "elements": self.elements,
            "non_finite": self.non_finite,
            "masked_equal": self.masked_equal,
            "identical": self.identical and not wrong,
        }


def _ratio(error: float, size: float) -> float:
    if error == 0:
        return 0.0
    return math.inf if size == 0 else error / size


def _cosine(product: float, a: float, b: float) -> float:
    if a == 0 and b == 0:
        return 1.0
    return 0.0 if a == 0 or b == 0 else product / math.sqrt(a) / math.sqrt(b)
