"""make_models.py FOLDER NAME..: checkpoint, GGUF and reference dump of each family, in FOLDER/NAME."""

import json
import sys
import warnings
from pathlib import Path

import torch
import transformers

from families import FAMILIES, model_of, write_gguf

import zayascope

transformers.logging.set_verbosity_error()
transformers.logging.disable_progress_bar()
warnings.filterwarnings("ignore")
#: A number of tokens that no other axis has.
TOKENS = [(k * 37 + 11) % 320 for k in range(23)]


def dump(model, out, inside=None):
    with torch.no_grad(), zayascope.capture(
        model, out, inside=inside, token_axis={"**.self_attn.1,**.attn.1,**:attn_weights*,**:eager_attention_forward.attn_weights*": 2}, overwrite=True
    ):
        model(input_ids=torch.tensor([TOKENS]), use_cache=False)


def main(folder: Path, names: list[str]) -> None:
    for name in names:
        place = folder / name
        place.mkdir(parents=True, exist_ok=True)
        model = model_of(name)
        write_gguf(name, model, place / "model.gguf")
        write_gguf(name, model, place / "q8_0.gguf", "Q8_0")
        dump(model, place / "reference")
        dump(model, place / "inside", type(model).__module__)
        model.save_pretrained(place / "checkpoint")
    print(json.dumps({"tokens": TOKENS, "made": names}))


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:] or list(FAMILIES))
