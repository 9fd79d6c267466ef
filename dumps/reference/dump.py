"""Dumps every intermediate tensor of one forward pass of unmodified transformers ZayaForCausalLM.

    python dumps/reference/dump.py --model DIR --tokens 5,17,9 --dtype float32 --out DIR

Exit code 0: the dump is complete. 2: bad input, nothing usable was written (a dump that was begun stays marked partial).
"""

import argparse
import hashlib
import json
import platform
import sys
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import torch
import transformers
from transformers import ZayaForCausalLM

from block_taps import block_taps
from checkpoint import StoredTensor, load_model, read_config, read_headers, stored_dtype, weights_sha256
from dump_writer import DumpWriter, check_folder, prepare_folder
from errors import DumpError
from observer import Observed, Observer
from streaming import stream_model
from tap_pattern import compile_pattern, parse_positions
from taps import MODEL, Sizes, Tap, model_taps

Load = Callable[[Path, torch.dtype, dict[str, StoredTensor]], ZayaForCausalLM]

DTYPES = {"float32": "F32", "bfloat16": "BF16", "float16": "F16"}


def main(arguments: list[str] | None = None) -> int:
    try:
        dump(parse(arguments))
    except (DumpError, OSError) as error:
        print(f"dump.py: {error}", file=sys.stderr)
        return 2
    return 0


def dump(args: argparse.Namespace, load: Load | None = None, producer: dict | None = None) -> None:
    """Runs the model once (twice with verification) and writes the dump.

    `load` makes the model instead of `load_model` or `stream_model`; `producer` holds further entries of the manifest's producer.
    """
    check_folder(args.out, args.overwrite)
    config = read_config(args.model)
    tensors = read_headers(args.model)
    tokens = _tokens(args, config)
    positions = parse_positions(args.positions, len(tokens))
    pattern = compile_pattern(args.taps)
    load = load or (stream_model if args.stream else load_model)
    model = load(args.model, getattr(torch, args.dtype), tensors)

    before, blocks, after = _select(model.config, pattern)
    taps = [*before, *(tap for block in blocks for tap in block), *after]
    if not taps:
        raise DumpError(f"taps: expected a pattern that matches a tap, got {args.taps!r}")
    dtypes = {tap.name: DTYPES[args.dtype] if tap.dtype == MODEL else tap.dtype for tap in taps}

    ids = torch.tensor([tokens])
    untraced = _forward(model, ids) if args.verify else None
    prepare_folder(args.out)
    description = _description(args, config, tensors, tokens, {"logitsEqualUntraced": untraced is not None, **(producer or {})})
    writer = DumpWriter(args.out, description, taps, dtypes, tokens, positions)
    logits = _observe(model, ids, writer, before, blocks, after)
    if untraced is not None and not _bit_equal(untraced, logits):
        raise DumpError("dump: expected the observed run to give the logits of an unobserved run bit for bit, it did not")
    writer.close()
    if not args.quiet:
        print(f"{args.out}: {len(taps)} taps of {len(tokens)} tokens, {args.dtype}")


def _observe(model, ids: torch.Tensor, writer: DumpWriter, before: list[Tap], blocks: list[list[Tap]], after: list[Tap]):
    seen = Observed()

    def on_block(index: int) -> None:
        if blocks[index]:
            writer.write(index, blocks[index], [tap.read(seen) for tap in blocks[index]])
        seen.forget(f"layers.{index}")

    with Observer(model, seen, on_block):
        logits = _forward(model, ids)
    if before or after:
        writer.write(None, [*before, *after], [tap.read(seen) for tap in [*before, *after]])
    return logits


def _forward(model, ids: torch.Tensor) -> torch.Tensor:
    with torch.no_grad():
        return model(input_ids=ids, use_cache=False).logits


def _bit_equal(a: torch.Tensor, b: torch.Tensor) -> bool:
    return a.dtype == b.dtype and torch.equal(a.contiguous().view(torch.uint8), b.contiguous().view(torch.uint8))


def _select(config, pattern) -> tuple[list[Tap], list[list[Tap]], list[Tap]]:
    size = Sizes.of(config)
    before, after = model_taps(size)
    groups = [before, *(block_taps(size, n) for n in range(config.num_hidden_layers)), after]
    before, *blocks, after = ([tap for tap in group if pattern.fullmatch(tap.name)] for group in groups)
    return before, blocks, after


def _description(args, config: dict, tensors: dict, tokens: list[int], producer: dict) -> dict:
    name = args.model.resolve().name
    device = f"{platform.machine()} {torch.backends.cpu.get_cpu_capability()}"
    return {
        "producer": {
            "name": "transformers",
            "version": transformers.__version__,
            "torch": torch.__version__,
            "pyarrow": pa.__version__,
            "python": platform.python_version(),
            "attention": "eager",
            "experts": "eager",
            **producer,
            "command": f"dump.py --model {name} --dtype {args.dtype} --taps {args.taps} --positions {args.positions}"
            + (" --stream" if args.stream else ""),
        },
        "model": {
            "type": config["model_type"],
            "name": name,
            "config": config,
            "configSha256": hashlib.sha256((args.model / "config.json").read_bytes()).hexdigest(),
            "weightsSha256": weights_sha256(tensors),
            "dtype": stored_dtype(tensors),
        },
        "policy": {"name": f"transformers-{args.dtype}"},
        "backend": {"name": "cpu", "device": device, "threads": torch.get_num_threads()},
        "sequences": [{"tokens": tokens}],
        "selection": {"taps": args.taps, "positions": args.positions},
    }


def _tokens(args, config: dict) -> list[int]:
    """Token ids of the command line, or of a file: a JSON array, a JSON object with `tokens`, or numbers in plain text."""
    text = args.tokens if args.tokens is not None else args.tokens_file.read_text()
    try:
        stripped = text.lstrip()
        parsed = json.loads(text) if stripped.startswith(("[", "{")) else text.replace(",", " ").split()
        tokens = [int(token) for token in (parsed["tokens"] if isinstance(parsed, dict) else parsed)]
    except (ValueError, KeyError, TypeError) as error:
        raise DumpError(f"tokens: expected integers, got {text[:60]!r}") from error
    if not tokens:
        raise DumpError("tokens: expected at least one token, got none")
    vocabulary = config.get("vocab_size", 262272)
    for position, token in enumerate(tokens):
        if not 0 <= token < vocabulary:
            raise DumpError(f"tokens: expected ids from 0 to {vocabulary - 1}, got {token} at position {position}")
    return tokens


def parse(arguments: list[str] | None) -> argparse.Namespace:
    """The command line as `dump` takes it; None: of this process."""
    parser = argparse.ArgumentParser(prog="dump.py", description=__doc__.split("\n")[0])
    parser.add_argument("--model", type=Path, required=True, help="checkpoint folder: config.json and safetensors")
    tokens = parser.add_mutually_exclusive_group(required=True)
    tokens.add_argument("--tokens", help="token ids, comma separated")
    tokens.add_argument("--tokens-file", type=Path, help="JSON array, JSON object with 'tokens', or plain numbers")
    parser.add_argument("--dtype", choices=DTYPES, required=True, help="dtype of the weights and the computation")
    parser.add_argument("--out", type=Path, required=True, help="folder of the dump; must not exist")
    parser.add_argument("--taps", default="**", help="comma list of globs over tap names (default: all)")
    parser.add_argument("--positions", default="all", help="all, last, or a:b (default: all)")
    parser.add_argument("--stream", action="store_true", help="hold one block's weights at a time; each run reads the files again")
    parser.add_argument("--overwrite", action="store_true", help="replace an existing dump")
    parser.add_argument("--no-verify", dest="verify", action="store_false", help="skip the unobserved run of the model")
    parser.add_argument("--quiet", action="store_true", help="print nothing on success")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
