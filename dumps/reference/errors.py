"""The one error class of the reference scripts. Messages read: operation, expectation, what came, where."""


class DumpError(Exception):
    """Bad input or an unexpected model; the scripts print it without a stack trace and exit with 2."""
