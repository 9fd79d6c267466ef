"""Makes checkpoints, GGUF files and reference dumps of tiny random models: jobs as JSON on standard input.

A job: {"family", "folder", "dumps": {name: {"inside": bool, "changes": {..}, "fault": name,
"decode": tokens, "sequences": 1 or 2}}, "ggufs": {name: {"type", "keys", "fault"}},
"checkpoint": bool}. All of one family have the same weights.
Of a checkpoint what each tensor of the GGUF file is made of is printed.
"""

import json
import sys
import warnings
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parents[1] / "python")]

import torch
import transformers
from families import model_of, sources, write_gguf
from faults import GGUF_FAULTS, MODULE_FAULTS

import zayascope

transformers.logging.set_verbosity_error()
transformers.logging.disable_progress_bar()
warnings.filterwarnings("ignore")
torch.set_num_threads(1)
#: A number of tokens that no other axis has.
TOKENS = [(k * 37 + 11) % 320 for k in range(23)]
QUERIES = {"**.self_attn.1,**.attn.1,**:attn_weights*,**:eager_attention_forward.attn_weights*": 2}


def dump(
    family: str,
    out: Path,
    inside: bool = False,
    changes: dict | None = None,
    fault: str | None = None,
    decode: int = 0,
    sequences: int = 1,
) -> None:
    model = model_of(family, **(changes or {}))
    if fault is not None:
        MODULE_FAULTS[fault](model)
    modules = type(model).__module__ if inside else None
    with torch.no_grad(), zayascope.capture(model, out, inside=modules, token_axis=QUERIES, overwrite=True):
        tokens = torch.tensor([TOKENS, TOKENS[::-1]][:sequences])
        found = model(input_ids=tokens, use_cache=decode > 0)
        for _ in range(decode):
            found = model(input_ids=found.logits[:, -1:].argmax(-1), past_key_values=found.past_key_values, use_cache=True)


def main(jobs: list[dict]) -> None:
    made: dict[str, dict[str, list[str]]] = {}
    for job in jobs:
        folder, family = Path(job["folder"]), job["family"]
        folder.mkdir(parents=True, exist_ok=True)
        for name, options in job.get("ggufs", {}).items():
            alter = GGUF_FAULTS[options["fault"]] if options.get("fault") else None
            write_gguf(family, model_of(family), folder / f"{name}.gguf", options.get("type"), options.get("keys"), alter)
        for name, options in job.get("dumps", {}).items():
            dump(family, folder / name, **options)
        if job.get("checkpoint"):
            model = model_of(family)
            model.save_pretrained(folder / "checkpoint")
            made[family] = sources(family, model)
    print(json.dumps({"tokens": TOKENS, "sources": made}))


if __name__ == "__main__":
    main(json.load(sys.stdin))
