"""Which local variables each stretch of a function's code assigns: what a line tracer cannot see when the object stays the same."""

import dis
from types import CodeType


class Assignments:
    """Names that are assigned between one line event and the next, by the bytecode offset of the first event."""

    def __init__(self) -> None:
        # by the code object itself: its id may be used again
        self._known: dict[CodeType, dict[int, frozenset[str]]] = {}

    def of(self, code: CodeType) -> dict[int, frozenset[str]]:
        """The names by offset; an offset that assigns nothing is absent."""
        if code not in self._known:
            self._known[code] = _by_offset(code)
        return self._known[code]


def _by_offset(code: CodeType) -> dict[int, frozenset[str]]:
    starts = [offset for offset, _line in dis.findlinestarts(code)]
    ends = [*starts[1:], len(code.co_code)]
    stores: list[tuple[int, str]] = []
    for instruction in dis.get_instructions(code):
        # a variable that a comprehension reads too is a cell
        if not instruction.opname.startswith(("STORE_FAST", "STORE_DEREF")):
            continue
        # newer interpreters store two names, or store one and load another, in one instruction
        names = instruction.argval if isinstance(instruction.argval, tuple) else (instruction.argval,)
        kept = names[:1] if instruction.opname == "STORE_FAST_LOAD_FAST" else names
        stores += [(instruction.offset, name) for name in kept]
    found = {
        start: frozenset(name for offset, name in stores if start <= offset < end) for start, end in zip(starts, ends, strict=True)
    }
    return {start: names for start, names in found.items() if names}
