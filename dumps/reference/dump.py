"""Dumps every intermediate tensor of forward passes of unmodified transformers models (ZAYA, Qwen3, Qwen3-MoE).

    python dumps/reference/dump.py --model DIR --tokens 5,17,9 --dtype float32 --out DIR

With --steps the prompt is fed in several calls with the model's own cache. Several sequences run as one batch, padded on the left.
Exit code 0: the dump is complete. 2: bad input, nothing usable was written (a dump that was begun stays marked partial).
"""

import argparse
import hashlib
import json
import platform
import re
import sys
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import torch
import transformers
from transformers import DynamicCache, PreTrainedModel

from calls import Batch
from checkpoint import StoredTensor, load_model, read_config, read_headers, stored_dtype, weights_sha256
from dump_writer import DumpWriter
from dumper import Dumper, forward
from errors import DumpError
from families import FAMILIES
from streaming import stream_model
from tap_pattern import compile_pattern
from taps import MODEL, Tap, same_bits
from zayascope.format.lock import locked
from zayascope.format.manifest import check_folder, prepare_folder

Load = Callable[[Path, torch.dtype, dict[str, StoredTensor]], PreTrainedModel]

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
    with locked(args.out):
        check_folder(args.out, args.overwrite)
        _dump(args, load, producer)


def _dump(args: argparse.Namespace, load: Load | None, producer: dict | None) -> None:
    config = read_config(args.model)
    tensors = read_headers(args.model)
    sequences = _sequences(args, config)
    batch = Batch(sequences, _steps(args), config.get("pad_token_id") or 0, args.positions)
    pattern = compile_pattern(args.taps)
    load = load or (stream_model if args.stream else load_model)
    model = load(args.model, getattr(torch, args.dtype), tensors)

    groups = _select(model.config, pattern, batch.cached)
    taps = [tap for group in groups.values() for tap in group]
    if not taps:
        raise DumpError(f"taps: expected a pattern that matches a tap, got {args.taps!r}")
    taps.sort(key=lambda tap: tap.block is None and tap.name in ("norm", "lm_head"))
    dtypes = {tap.name: DTYPES[args.dtype] if tap.dtype == MODEL else tap.dtype for tap in taps}

    untraced = _unobserved(model, batch) if args.verify else None
    prepare_folder(args.out)
    verified = {"logitsEqualUntraced": untraced is not None, **(producer or {})}
    writer = DumpWriter(args.out, _description(args, config, tensors, sequences, verified), taps, dtypes)
    dumper = Dumper(model, batch, groups, writer)
    for call, logits in dumper.run():
        if untraced is not None and not same_bits(untraced[call.step], logits):
            raise DumpError("dump: expected the observed run to give the logits of an unobserved run bit for bit, it did not")
    writer.close(len(batch.calls))
    if not args.quiet:
        _report(args, batch, len(taps) - len(writer.not_run), dumper.edited)
    for name, reason in writer.not_run.items():
        print(f"dump.py: {name} is not in the dump: {reason}", file=sys.stderr)


def _report(args, batch: Batch, taps: int, edited: list[str]) -> None:
    tokens = sum(map(len, batch.sequences))
    parts = [f"{taps} taps of {tokens} tokens"]
    parts += [f"{len(batch.sequences)} sequences"] if len(batch.sequences) > 1 else []
    parts += [f"{len(batch.calls)} calls with a cache"] if batch.cached else []
    print(f"{args.out}: {', '.join([*parts, args.dtype])}")
    if edited:
        print(f"changed after the module that made them, as the caller goes on with them: {', '.join(edited)}")


def _unobserved(model, batch: Batch) -> list[torch.Tensor]:
    """The logits of every call without an observer."""
    cache = DynamicCache(config=model.config) if batch.cached else None
    return [forward(model, batch, call, cache) for call in batch.calls]


def _select(config, pattern, cached: bool) -> dict[int | None, list[Tap]]:
    """The wanted taps by block, in execution order; those of no block under None."""
    family = FAMILIES[config.model_type]
    size = family.sizes.of(config)
    before, after = family.model_taps(size)
    groups = {None: [*before, *after], **{n: family.block_taps(size, n, cached) for n in range(config.num_hidden_layers)}}
    return {block: [tap for tap in group if pattern.fullmatch(tap.name)] for block, group in groups.items()}


def _description(args, config: dict, tensors: dict, sequences: list[list[int]], producer: dict) -> dict:
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
            + (f" --steps {args.steps}" if args.steps else "")
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
        "sequences": [{"tokens": tokens} for tokens in sequences],
        "selection": {"taps": args.taps, "positions": args.positions},
    }


def _sequences(args, config: dict) -> list[list[int]]:
    """Token ids of the command line, or of a file: numbers in plain text, a JSON array or {"tokens": [...]} for one sequence, an array
    of arrays or {"sequences": [...]} for several."""
    text = args.tokens if args.tokens is not None else args.tokens_file.read_text()
    try:
        stripped = text.lstrip()
        parsed = json.loads(text) if stripped.startswith(("[", "{")) else text.replace(",", " ").split()
        if isinstance(parsed, dict):
            parsed = parsed["sequences"] if "sequences" in parsed else parsed["tokens"]
        several = any(isinstance(entry, list) for entry in parsed)
        sequences = [[int(token) for token in tokens] for tokens in (parsed if several else [parsed])]
    except (ValueError, KeyError, TypeError) as error:
        raise DumpError(f"tokens: expected integers, got {text[:60]!r}") from error
    vocabulary = config.get("vocab_size", 262272)
    for number, tokens in enumerate(sequences):
        where = f" of sequence {number}" if len(sequences) > 1 else ""
        if not tokens:
            raise DumpError(f"tokens: expected at least one token, got none{where}")
        for position, token in enumerate(tokens):
            if not 0 <= token < vocabulary:
                raise DumpError(f"tokens: expected ids from 0 to {vocabulary - 1}, got {token} at position {position}{where}")
    return sequences


def _steps(args) -> list[int] | None:
    if args.steps is None:
        return None
    if re.fullmatch(r"\d+(,\d+)*", args.steps) is None:
        raise DumpError(f"steps: expected sizes of calls as 16,9,1,1, got {args.steps!r}")
    return [int(size) for size in args.steps.split(",")]


def parse(arguments: list[str] | None) -> argparse.Namespace:
    """The command line as `dump` takes it; None: of this process."""
    parser = argparse.ArgumentParser(prog="dump.py", description=__doc__.split("\n")[0])
    parser.add_argument("--model", type=Path, required=True, help="checkpoint folder: config.json and safetensors")
    tokens = parser.add_mutually_exclusive_group(required=True)
    tokens.add_argument("--tokens", help="token ids, comma separated")
    tokens.add_argument("--tokens-file", type=Path, help="JSON array, object with 'tokens', or plain numbers; several sequences as [[...], [...]] or {'sequences': [...]}")
    parser.add_argument("--steps", help="feed the tokens in calls of these sizes with a cache, e.g. 16,9,1,1 (default: one call, no cache)")
    parser.add_argument("--dtype", choices=DTYPES, required=True, help="dtype of the weights and the computation")
    parser.add_argument("--out", type=Path, required=True, help="folder of the dump; must not exist")
    parser.add_argument("--taps", default="**", help="comma list of globs over tap names (default: all)")
    parser.add_argument("--positions", default="all", help="all, last (of each call), or a:b (default: all)")
    parser.add_argument("--stream", action="store_true", help="hold one block's weights at a time; each run reads the files again")
    parser.add_argument("--overwrite", action="store_true", help="replace an existing dump")
    parser.add_argument("--no-verify", dest="verify", action="store_false", help="skip the unobserved run of the model")
    parser.add_argument("--quiet", action="store_true", help="print nothing on success")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
