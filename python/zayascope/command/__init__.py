"""The command line: `python -m zayascope`."""
