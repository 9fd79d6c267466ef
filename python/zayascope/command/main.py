"""Arguments, output and exit codes of `python -m zayascope`."""

from __future__ import annotations

import argparse
import json
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path

from ..comparing.diff import diff
from ..errors import DumpError
from ..format.pattern import compile_pattern
from ..format.reader import load
from ..version import VERSION

DTYPES = ("float32", "bfloat16", "float16", "float64")


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs a command. 0: done, 1: the dumps differ by more than `--fail-above`, 2: bad input."""
    args = _parser().parse_args(arguments)
    try:
        return args.run(args)
    except (DumpError, OSError) as error:
        print(f"zayascope {args.command}: {error}", file=sys.stderr)
        return 2


def _dump(args: argparse.Namespace) -> int:
    given = None if args.prompt is not None else _tokens(args)
    # importing torch and transformers takes seconds, which the other commands must not cost
    from .language_model import Request, prompt_tokens, record

    tokens = prompt_tokens(args.model, args.prompt) if given is None else given
    request = Request(
        args.model, args.out, tokens, args.dtype, args.taps, args.inside, args.decode, args.device, args.overwrite, args.verify, args.edges
    )
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "capture: ")  # said below
        outcome = record(request)
    for sentence in _notices(outcome.ambiguous, outcome.not_loaded, outcome.set_back):
        print(sentence, file=sys.stderr)
    steps = "" if outcome.steps == 1 else f" and {outcome.steps - 1} decoded"
    print(f"{args.out}: {outcome.taps} taps of {outcome.tokens} tokens{steps}, {args.dtype}")
    return 0


def _notices(ambiguous: list[str], unused: list[str], set_back: list[str]) -> list[str]:
    sentences = []
    if ambiguous:
        sentences.append(f"{len(ambiguous)} values have two axes of the number of tokens and are stored once a call; {ambiguous[0]} is the first")
    if unused:
        sentences.append(f"{len(unused)} tensors of the checkpoint have no place in the model; {unused[0]} is the first")
    if set_back:
        sentences.append(f"{len(set_back)} tensors were changed by loading and set back to what the files hold; {set_back[0]} is the first")
    return sentences


def _diff(args: argparse.Namespace) -> int:
    table = diff(args.reference, args.tested, args.taps)
    print(table)
    if args.fail_above is None:
        return 0
    passed = table.passes(args.fail_above)
    print(f"{'PASS' if passed else 'FAIL'}  energy NMSE at most {args.fail_above:g}")
    return 0 if passed else 1


def _show(args: argparse.Namespace) -> int:
    dump, pattern = load(args.dump), compile_pattern(args.taps)
    print(f"{args.dump}: {dump.manifest['status']}, version {dump.manifest['version']}, {len(dump)} taps, {dump.manifest['steps']} steps")
    for name in (name for name in dump if pattern.fullmatch(name)):
        spec = dump[name].spec
        sizes = ", ".join("?" if size is None else str(size) for size in spec.shape)
        print(f"{name}  {spec.dtype} [{sizes}] per {spec.scope}")
    return 0


def _tokens(args: argparse.Namespace) -> list[int]:
    """Token ids of the command line, or of a file: a JSON array, a JSON object with `tokens`, or numbers in plain text."""
    text = args.tokens if args.tokens is not None else args.tokens_file.read_text()
    try:
        parsed = json.loads(text) if text.lstrip().startswith(("[", "{")) else text.replace(",", " ").split()
        tokens = [int(token) for token in (parsed["tokens"] if isinstance(parsed, dict) else parsed)]
    except (ValueError, KeyError, TypeError) as error:
        raise DumpError(f"tokens: expected integers, got {text[:60]!r}") from error
    if not tokens:
        raise DumpError("tokens: expected at least one token, got none")
    return tokens


def _count(text: str) -> int:
    number = int(text)
    if number < 0:
        raise ValueError(text)
    return number


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m zayascope", description="Dumps of what PyTorch models compute.")
    parser.add_argument("--version", action="version", version=VERSION)
    commands = parser.add_subparsers(dest="command", required=True)

    dump = commands.add_parser("dump", help="run a causal language model from a folder and record every value")
    dump.add_argument("--model", type=Path, required=True, help="checkpoint folder that AutoModelForCausalLM reads")
    tokens = dump.add_mutually_exclusive_group(required=True)
    tokens.add_argument("--prompt", help="text, through the model's tokenizer")
    tokens.add_argument("--tokens", help="token ids, comma separated")
    tokens.add_argument("--tokens-file", type=Path, help="JSON array, JSON object with 'tokens', or plain numbers")
    dump.add_argument("--out", type=Path, required=True, help="folder of the dump; must not exist")
    dump.add_argument("--dtype", choices=DTYPES, default="float32", help="dtype of weights and computation (default: float32)")
    dump.add_argument("--taps", default="**", help="comma list of globs over tap names (default: all)")
    dump.add_argument("--inside", nargs="?", const="", help="local variables too: of the model's own source, or of modules whose name holds this")
    dump.add_argument("--decode", type=_count, default=0, metavar="N", help="greedy tokens after the prompt, through the cache (default: 0)")
    dump.add_argument("--device", default="cpu", help="torch device (default: cpu)")
    dump.add_argument("--edges", choices=("functions", "storage", "none"), default="functions", help="which value went into which (default: functions)")
    dump.add_argument("--overwrite", action="store_true", help="replace an existing dump")
    dump.add_argument("--no-verify", dest="verify", action="store_false", help="skip the unwatched run of the model")
    dump.set_defaults(run=_dump)

    compare = commands.add_parser("diff", help="compare two dumps")
    compare.add_argument("reference", type=Path)
    compare.add_argument("tested", type=Path)
    compare.add_argument("--taps", default="**", help="comma list of globs over tap names (default: all)")
    compare.add_argument("--fail-above", type=float, metavar="NMSE", help="exit 1 where an energy NMSE is larger, integers differ or values are missing")
    compare.set_defaults(run=_diff)

    show = commands.add_parser("show", help="list the values of a dump")
    show.add_argument("dump", type=Path)
    show.add_argument("--taps", default="**", help="comma list of globs over tap names (default: all)")
    show.set_defaults(run=_show)
    return parser
