"""Which taps play a part that readers know: logits, the residual stream, caches."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from ..format.pattern import compile_pattern

#: What a causal language model of transformers returns, and the module that makes it.
LOGITS = ("return.logits", "lm_head")


def known_roles(
    names: Sequence[str], blocks: str | None, seen: Mapping[str, Sequence[str]], asked: Mapping[str, str]
) -> dict[str, list[str]]:
    """Tap names by role. `seen` are those of the values themselves (caches), `asked` are patterns by role, which go first."""
    roles: dict[str, list[str]] = {}
    for role, pattern in asked.items():
        compiled = compile_pattern(pattern)
        roles[role] = [name for name in names if compiled.fullmatch(name)]
    if "residual" not in roles and blocks is not None:
        block = re.compile(rf"{re.escape(blocks)}\.[0-9]+(\.0)?")
        roles["residual"] = [name for name in names if block.fullmatch(name)]
    if "logits" not in roles:
        roles["logits"] = [name for name in LOGITS if name in names][:1]
    for role, own in seen.items():
        roles.setdefault(role, [name for name in names if name in own])
    return {role: own for role, own in roles.items() if own}
