"""Dumps wrong and right variants of ZAYA models on request, from one process that has imported torch.

Requests are lines of JSON on standard input, answers lines on standard output, in order:

    {"out": DIR, "model": DIR, "tokens": FILE, "dtype": "float32", "fault": NAME | null, "program": NAME | null,
     "steps": "16,9,1,1" | null, "gguf": "q8_0" | null}
    -> {"out": DIR} or {"out": DIR, "error": TEXT}
    {"checkpoint": DIR, "args": [...]} -> {"out": DIR}      (a seeded random checkpoint)

The first line that is printed lists the faults and the programs.
"""

import contextlib
import copy
import functools
import gc
import json
import sys
from contextlib import ExitStack, redirect_stdout
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "dumps" / "reference"))

import dump  # noqa: E402
import random_checkpoint  # noqa: E402
import torch  # noqa: E402
from checkpoint import load_model, read_headers  # noqa: E402

from planted import FAULTS  # noqa: E402
from quantised import expert_linear, quantise  # noqa: E402
from right_programs import RIGHT_PROGRAMS  # noqa: E402
from step_faults import STEP_FAULTS  # noqa: E402

STEPS = {fault.name: fault for fault in STEP_FAULTS}
PROGRAMS = {program.name: program for program in RIGHT_PROGRAMS}


@functools.lru_cache(maxsize=4)
def _model(folder: str, dtype: str):
    return load_model(Path(folder), getattr(torch, dtype), read_headers(Path(folder)))


def plant(request: dict) -> None:
    model = copy.deepcopy(_model(request["model"], request["dtype"]))
    options = ["--model", request["model"], "--tokens-file", request["tokens"], "--dtype", request["dtype"], "--out", request["out"]]
    options += ["--steps", request["steps"]] if request.get("steps") else []
    with ExitStack() as stack:
        fault, program, gguf = (request.get(key) for key in ("fault", "program", "gguf"))
        if fault is not None:
            known = STEPS if request.get("steps") else FAULTS
            stack.enter_context(known[fault].alter(model))
        if program is not None:
            stack.enter_context(PROGRAMS[program].alter(model))
        if gguf is not None:
            quantise(model, gguf)
            kept = torch.nn.functional.linear
            torch.nn.functional.linear = expert_linear(gguf)
            stack.callback(setattr, torch.nn.functional, "linear", kept)
        producer = {"fault": fault} if fault else {"program": program} if program else {}
        dump.dump(dump.parse([*options, "--no-verify", "--quiet"]), lambda *_: model, producer)


def answer(request: dict) -> dict:
    out = request.get("out", request.get("checkpoint"))
    try:
        # one that fails is said, and does not end the others
        with redirect_stdout(sys.stderr):
            if "checkpoint" in request:
                random_checkpoint.main(["--out", request["checkpoint"], *request["args"]])
            else:
                plant(request)
        return {"out": out}
    except Exception as error:  # noqa: BLE001
        return {"out": out, "error": f"{type(error).__name__}: {error}"}


def main() -> None:
    torch.set_num_threads(1)
    # what the imports have made stays: to walk it again and again costs a third of a dump
    gc.freeze()
    faults = [{"name": f.name, "tap": f.tap, "also": f.also, "shows": f.shows} for f in FAULTS.values()]
    keys = ("name", "tap", "sequence", "position", "step", "padded")
    steps = [{key: getattr(fault, key) for key in keys} for fault in STEP_FAULTS]
    programs = [{"name": p.name, "dtype": p.dtype} for p in RIGHT_PROGRAMS]
    with contextlib.suppress(BrokenPipeError):
        print(json.dumps({"faults": faults, "steps": steps, "programs": programs}), flush=True)
        for line in sys.stdin:
            print(json.dumps(answer(json.loads(line))), flush=True)


if __name__ == "__main__":
    main()
