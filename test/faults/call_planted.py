"""Calls planted.py several times in one process: a JSON list of argument lists in, [{status, stderr}] out."""

import contextlib
import io
import json
import sys

import planted


def call(arguments: list[str]) -> dict:
    errors = io.StringIO()
    with contextlib.redirect_stderr(errors):
        try:
            status = planted.main(arguments)
        except SystemExit as stop:  # argparse
            status = stop.code
    return {"status": status, "stderr": errors.getvalue()}


print(json.dumps([call(arguments) for arguments in json.load(sys.stdin)]))
