"""Makes everything under dumps/tiny: a trained tiny ZAYA in BF16, its tokenizer, a prompt, and reference dumps of it.

    python dumps/reference/make_tiny.py --out dumps/tiny

Seeded; a few minutes on two cores. The dumps are written by dump.py, as a user would write them.
"""

import argparse
import json
import platform
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import torch
import transformers

from byte_tokenizer import encode_text, save_tokenizer
from checkpoint import load_model, read_headers
from checkpoint_writer import save_checkpoint
from tiny_prompt import MIN_MARGIN, SKIP_RANGE, Routing, choose_prompt, routing_of
from train_tiny import TrainingResult, train

DTYPES = ("float32", "bfloat16")
MAX_MODEL_BYTES = 8 * 2**20
MAX_DUMP_BYTES = 24 * 2**20


def main() -> int:
    args = _parse()
    torch.set_num_threads(args.threads)
    trained, result = train(args.steps, args.seed)
    model_dir = args.out / "model"
    save_checkpoint(trained, model_dir, torch.bfloat16)
    save_tokenizer(model_dir)
    model = load_model(model_dir, torch.float32, read_headers(model_dir))
    text, tried = choose_prompt(model, args.seed + 2)
    prompt = args.out / "prompt.json"
    prompt.write_text(json.dumps({"text": text, "tokens": encode_text(text)}, indent=1) + "\n", encoding="utf-8")
    for dtype in DTYPES:
        _dump(model_dir, prompt, dtype, args.out / f"reference-{dtype}")
    routing = routing_of(_biased(args.out / "reference-float32"))
    _check(args.out, routing)
    (args.out / "README.md").write_text(_readme(args, result, routing, text, tried), encoding="utf-8")
    print((args.out / "README.md").read_text())
    return 0


def _dump(model: Path, prompt: Path, dtype: str, out: Path) -> None:
    script = Path(__file__).with_name("dump.py")
    command = [sys.executable, script, "--model", model, "--tokens-file", prompt, "--dtype", dtype, "--out", out, "--overwrite"]
    subprocess.run(command, check=True)


def _biased(dump: Path) -> torch.Tensor:
    """Biased router probabilities [blocks, T, E+1] as the F32 dump holds them."""
    files = sorted(dump.glob("layers.*.arrow"), key=lambda path: int(path.name.split(".")[1]))
    columns = [f"layers.{n}.mlp.gate:biased_router_probs" for n in range(len(files))]
    tables = [pa.ipc.open_file(file).read_all() for file in files]
    arrays = [table.column(name).combine_chunks() for table, name in zip(tables, columns, strict=True)]
    return torch.stack([torch.tensor(array.to_numpy_ndarray()) for array in arrays])


def _check(out: Path, routing: Routing) -> None:
    """What the committed files promise; a run that breaks a promise fails."""
    model_bytes, dump_bytes = _size(out / "model"), sum(_size(out / f"reference-{dtype}") for dtype in DTYPES)
    checks = {
        f"skip share in {SKIP_RANGE}": SKIP_RANGE[0] <= routing.skip_share <= SKIP_RANGE[1],
        f"routing margin above {MIN_MARGIN}": routing.min_margin > MIN_MARGIN,
        "all experts used in every block": routing.blocks_with_all_experts == routing.blocks,
        f"model of at most {MAX_MODEL_BYTES} bytes, got {model_bytes}": model_bytes <= MAX_MODEL_BYTES,
        f"dumps of at most {MAX_DUMP_BYTES} bytes, got {dump_bytes}": dump_bytes <= MAX_DUMP_BYTES,
    }
    failed = [name for name, passed in checks.items() if not passed]
    if failed:
        raise SystemExit(f"make_tiny: expected {'; '.join(failed)}; got {routing}")


def _size(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.iterdir())


def _readme(args, result: TrainingResult, routing: Routing, text: str, tried: int) -> str:
    sizes = {name: _size(args.out / name) / 1e6 for name in ("model", *(f"reference-{dtype}" for dtype in DTYPES))}
    machine = f"{args.threads} threads of {platform.machine()} {torch.backends.cpu.get_cpu_capability()}"
    rows = "\n".join(f"| `{name}/` | {megabytes:.1f} MB |" for name, megabytes in sizes.items())
    return f"""# The tiny ZAYA

A byte-level ZAYA with every feature of the architecture, trained on text from `dumps/reference/corpus.py`, and what unmodified
transformers computes with it. Written by this command, which also writes this page:

```
python dumps/reference/make_tiny.py --steps {args.steps} --seed {args.seed} --threads {args.threads} --out dumps/tiny
```

| figure of that run | value |
|---|---|
| parameters | {result.parameters:,} |
| training steps, wall time | {result.steps}, {result.seconds:.0f} s on {machine} |
| loss, first step | {result.first_loss:.2f} nats per byte |
| loss, last 10 steps | {result.last_loss:.2f} nats per byte |
| loss on held-out text | {result.held_out_loss:.2f} nats per byte |
| prompt | {len(encode_text(text))} tokens, candidate {tried} of a seeded list |
| skip class on the prompt | {100 * routing.skip_share:.1f} % of (block, token) pairs |
| blocks where the prompt uses all experts | {routing.blocks_with_all_experts} of {routing.blocks} |
| smallest routing margin on the prompt (F32) | {routing.min_margin:.2e} |
| torch, transformers | {torch.__version__}, {transformers.__version__} |

| folder | size |
|---|---|
{rows}

`model/` stores BF16 (balancing biases F32). `reference-float32/` is the same checkpoint widened to F32 and computed in F32,
`reference-bfloat16/` is computed in BF16: the difference between the two is the reference's own noise. Another machine trains slightly
different weights from the same seed; the committed files are the ones that tests use.
"""


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make_tiny.py", description=__doc__.split("\n")[0])
    parser.add_argument("--out", type=Path, required=True, help="folder to fill")
    parser.add_argument("--steps", type=int, default=420, help="training steps (default: 420)")
    parser.add_argument("--seed", type=int, default=1, help="seed of weights, text and prompt (default: 1)")
    parser.add_argument("--threads", type=int, default=2, help="torch threads; part of what makes a run repeatable (default: 2)")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
