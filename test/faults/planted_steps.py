"""Dumps wrong ZAYA models over several calls, each made by altering unmodified transformers at one place while it runs.

    python test/faults/planted_steps.py --model DIR --tokens-file FILE --steps 16,9,1,1 --out DIR [--only NAME,NAME] [--padded]

Writes the unaltered model's dump to DIR/unaltered, each fault's to DIR/NAME, and the unaltered one's again to DIR/restored. --padded adds
the faults that show in batches of several lengths only. Prints JSON: [{"name", "says", "tap", "sequence", "position", "step"}].
"""

import argparse
import copy
import json
import sys
from contextlib import nullcontext
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "dumps" / "reference"))

import dump  # noqa: E402
import torch  # noqa: E402
from checkpoint import load_model, read_headers  # noqa: E402

from step_faults import STEP_FAULTS, StepFault  # noqa: E402


def main() -> None:
    args = _parse()
    # the tiny model's tensors are so small that several threads mostly wait for each other
    torch.set_num_threads(1)
    only = None if args.only is None else args.only.split(",")
    faults = [fault for fault in STEP_FAULTS if (args.padded or not fault.padded) and (only is None or fault.name in only)]
    model = load_model(args.model, torch.float32, read_headers(args.model))
    _plant(args, model, None, args.out / "unaltered")
    for fault in faults:
        _plant(args, model, fault, args.out / fault.name)
    _plant(args, model, None, args.out / "restored")
    keys = ("name", "says", "tap", "sequence", "position", "step")
    print(json.dumps([{key: getattr(fault, key) for key in keys} for fault in faults]))


def _plant(args: argparse.Namespace, model, fault: StepFault | None, out: Path) -> None:
    wrong = copy.deepcopy(model)
    source = ["--model", args.model, "--tokens-file", args.tokens_file, "--steps", args.steps]
    options = [*source, "--taps", args.taps, "--dtype", "float32", "--out", out, "--no-verify", "--quiet"]
    with fault.alter(wrong) if fault else nullcontext():
        dump.dump(dump.parse([str(option) for option in options]), lambda *_: wrong, {"fault": fault.name} if fault else {})


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="planted_steps.py", description=__doc__.split("\n")[0])
    parser.add_argument("--model", type=Path, required=True, help="checkpoint folder; the faults fit the tiny model's shape")
    parser.add_argument("--tokens-file", type=Path, required=True, help="as of dump.py")
    parser.add_argument("--steps", required=True, help="as of dump.py")
    parser.add_argument("--taps", default="**", help="as of dump.py")
    parser.add_argument("--only", help="names of faults, comma separated (default: all)")
    parser.add_argument("--padded", action="store_true", help="with the faults of batches of several lengths")
    parser.add_argument("--out", type=Path, required=True, help="folder of the dumps")
    return parser.parse_args()


if __name__ == "__main__":
    main()
