"""Dumps models with faults of structure, each in a process forked from this one, which imports torch and loads the model once.

    python test/causes/structural.py --model DIR --tokens-file FILE --out DIR [--only NAME,NAME] [--dtype float32] [--taps PATTERN]

Writes the unaltered model's dump to DIR/unaltered and each fault's to DIR/NAME. Prints JSON:
[{"name", "says", "tap", "cause", "within"}]: the key of the cause (null for faults that are none of structure), and
for faults of a part of a value its axis and entries.
"""

import argparse
import copy
import json
import os
import sys
import traceback
from contextlib import nullcontext
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "dumps" / "reference"))

import dump  # noqa: E402
import torch  # noqa: E402
from checkpoint import load_model, read_headers  # noqa: E402

from structural_faults import ALL, CAUSES, OTHERS, WITHIN  # noqa: E402

# Processes at a time.
AT_ONCE = 2


def main() -> None:
    args = _parse()
    torch.set_num_threads(1)
    wanted = list(dict.fromkeys([*CAUSES, *OTHERS, *WITHIN])) if args.only is None else args.only.split(",")
    model = load_model(args.model, getattr(torch, args.dtype), read_headers(args.model))
    jobs = [None, *(ALL[name] for name in wanted)]
    running = 0
    for fault in jobs:
        if running == AT_ONCE:
            _wait()
            running -= 1
        if os.fork() == 0:
            _child(args, model, fault)
        running += 1
    for _ in range(running):
        _wait()
    print(json.dumps([_listed(ALL[name]) for name in wanted]))


def _listed(fault) -> dict:
    name = fault.name
    return {"name": name, "says": fault.says, "tap": fault.tap, "cause": CAUSES.get(name), "within": WITHIN.get(name)}


def _child(args: argparse.Namespace, model, fault) -> None:
    try:
        _plant(args, model, fault)
        os._exit(0)
    except BaseException:
        traceback.print_exc()
        os._exit(1)


def _wait() -> None:
    _, status = os.wait()
    if status != 0:
        sys.exit(1)


def _plant(args: argparse.Namespace, model, fault) -> None:
    wrong = copy.deepcopy(model)
    out = args.out / (fault.name if fault else "unaltered")
    source = ["--model", args.model, "--tokens-file", args.tokens_file, "--dtype", args.dtype, "--taps", args.taps]
    options = dump.parse([str(option) for option in [*source, "--out", out, "--no-verify", "--quiet"]])
    with fault.alter(wrong) if fault else nullcontext():
        dump.dump(options, lambda *_: wrong, {"fault": fault.name} if fault else {})


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="structural.py", description=__doc__.split("\n")[0])
    parser.add_argument("--model", type=Path, required=True, help="checkpoint folder; the faults fit the tiny model's shape")
    parser.add_argument("--tokens-file", type=Path, required=True, help="as of dump.py")
    parser.add_argument("--dtype", choices=dump.DTYPES, default="float32", help="as of dump.py")
    parser.add_argument("--taps", default="**", help="as of dump.py")
    parser.add_argument("--only", help="names of faults, comma separated (default: all)")
    parser.add_argument("--out", type=Path, required=True, help="folder of the dumps")
    return parser.parse_args()


if __name__ == "__main__":
    main()
