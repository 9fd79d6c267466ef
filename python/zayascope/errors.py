"""The one error of the package."""


class DumpError(ValueError):
    """Something that cannot be recorded, written, read or compared; the text says what was expected, what came, and where."""
