"""Runs scripts of dumps/reference in one process: a JSON list of {script, args} on standard input, results as JSON on output."""

import contextlib
import importlib
import io
import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "dumps" / "reference"))


def run(script: str, args: list[str]) -> dict:
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            status = importlib.import_module(script).main(args)
        except SystemExit as stop:  # argparse
            status = stop.code
    return {"status": status, "stdout": out.getvalue(), "stderr": err.getvalue()}


print(json.dumps([run(**call) for call in json.load(sys.stdin)]))
