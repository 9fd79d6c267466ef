"""Dumps wrong ZAYA models, each made by altering unmodified transformers at one place while it runs.

    python test/faults/planted.py --model DIR --tokens-file FILE --fault NAME --out DIR [--dtype float32]
    python test/faults/planted.py --model DIR --tokens-file FILE --all --out DIR [--dtype float32]
    python test/faults/planted.py --list

--all writes the unaltered model's dump to DIR/unaltered, each fault's to DIR/NAME, and the unaltered one's again to DIR/restored.
--list, and --all when it is done, print JSON: [{"name", "says", "tap", "shows"}]. `tap` is where the fault first shows in an F32 dump of the
tiny model's prompt, `shows` whether it does. In BF16 the faults that round to BF16 or to more digits than it has do not show.
Exit code 0: all dumps are complete. 2: bad input.
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
from errors import DumpError  # noqa: E402

from alteration import Fault  # noqa: E402
from attention_faults import ATTENTION_FAULTS  # noqa: E402
from cca_faults import CCA_FAULTS  # noqa: E402
from model_faults import MODEL_FAULTS  # noqa: E402
from moe_faults import MOE_FAULTS  # noqa: E402
from router_faults import ROUTER_FAULTS  # noqa: E402
from softmax_faults import SOFTMAX_FAULTS  # noqa: E402
from stream_faults import STREAM_FAULTS  # noqa: E402

_LISTS = [MODEL_FAULTS, STREAM_FAULTS, ATTENTION_FAULTS, CCA_FAULTS, SOFTMAX_FAULTS, MOE_FAULTS, ROUTER_FAULTS]
FAULTS = {fault.name: fault for faults in _LISTS for fault in faults}


def main(arguments: list[str] | None = None) -> int:
    args = _parse(arguments)
    if args.list:
        _print_list()
        return 0
    # the tiny model's tensors are so small that several threads mostly wait for each other
    torch.set_num_threads(1)
    try:
        model = load_model(args.model, getattr(torch, args.dtype), read_headers(args.model))
        if args.all:
            _plant(args, model, None, args.out / "unaltered")
            for fault in FAULTS.values():
                _plant(args, model, fault, args.out / fault.name)
            _plant(args, model, None, args.out / "restored")
            _print_list()
        else:
            _plant(args, model, FAULTS[args.fault], args.out)
    except (DumpError, OSError) as error:
        print(f"planted.py: {error}", file=sys.stderr)
        return 2
    return 0


def _print_list() -> None:
    print(json.dumps([{"name": f.name, "says": f.says, "tap": f.tap, "shows": f.shows} for f in FAULTS.values()]))


def _plant(args: argparse.Namespace, model, fault: Fault | None, out: Path) -> None:
    """The dump of an altered copy of `model`, by the ordinary dumper; its manifest names the fault."""
    wrong = copy.deepcopy(model)
    options = ["--model", args.model, "--tokens-file", args.tokens_file, "--dtype", args.dtype, "--out", out, "--no-verify", "--quiet"]
    with fault.alter(wrong) if fault else nullcontext():
        dump.dump(dump.parse([str(option) for option in options]), lambda *_: wrong, {"fault": fault.name} if fault else {})


def _parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="planted.py", description=__doc__.split("\n")[0])
    which = parser.add_mutually_exclusive_group(required=True)
    which.add_argument("--fault", choices=FAULTS, metavar="NAME", help="one of --list")
    which.add_argument("--all", action="store_true", help="every fault, and the unaltered model before and after")
    which.add_argument("--list", action="store_true", help="print the faults as JSON")
    parser.add_argument("--model", type=Path, help="checkpoint folder; the faults fit the tiny model's shape")
    parser.add_argument("--tokens-file", type=Path, help="as of dump.py")
    parser.add_argument("--dtype", choices=dump.DTYPES, default="float32", help="as of dump.py (default: float32)")
    parser.add_argument("--out", type=Path, help="folder of the dump, or of the dumps")
    args = parser.parse_args(arguments)
    if not args.list and None in (args.model, args.tokens_file, args.out):
        parser.error("expected --model, --tokens-file and --out")
    return args


if __name__ == "__main__":
    sys.exit(main())
