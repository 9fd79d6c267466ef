"""What checks expect of errors."""

import zayascope


def raises(function, part: str) -> None:
    """The function must raise a DumpError whose text holds `part`."""
    try:
        function()
    except zayascope.DumpError as error:
        assert part in str(error), f"expected {part!r} in {error}"
        return
    raise AssertionError(f"expected a DumpError with {part!r}, got none")
