"""What transformers makes of tokenizer folders: {"folders": [...], "texts": [...], "chat": [...]} on standard input.

Output: for each folder {"ids": [ids per text], "text": rendered chat or null} or {"error": ...}.
"""

import json
import os
import sys

os.environ["TRANSFORMERS_VERBOSITY"] = "error"
os.environ["RUST_BACKTRACE"] = "0"

from transformers import AutoTokenizer  # noqa: E402

job = json.load(sys.stdin)
out = []
for folder in job["folders"]:
    try:
        tokenizer = AutoTokenizer.from_pretrained(folder)
        result = {"ids": [tokenizer(text)["input_ids"] for text in job["texts"]]}
    except BaseException as error:  # noqa: BLE001 - the Rust part panics with one that is no Exception
        out.append({"error": f"{type(error).__name__}: {error}"[:200]})
        continue
    try:
        result["text"] = tokenizer.apply_chat_template(job["chat"], tokenize=False, add_generation_prompt=True)
    except BaseException as error:  # noqa: BLE001
        result["text"] = None
        result["textError"] = f"{type(error).__name__}: {error}"[:200]
    out.append(result)
print(json.dumps(out))
