"""Selection of taps by pattern, and of positions: that of the package in `python/`."""

import errors  # noqa: F401  finds the package
from zayascope.format.pattern import Pattern, compile_pattern, parse_positions

__all__ = ["Pattern", "compile_pattern", "parse_positions"]
