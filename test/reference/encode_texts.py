"""Encodes and decodes texts with a checkpoint's tokenizer through transformers: a JSON list of texts on standard input.

    python test/reference/encode_texts.py MODEL

Output: {"ids": [ids per text], "decoded": [text per text], "special": [pad, bos, eos]}.
"""

import json
import os
import sys

os.environ.setdefault("HF_HUB_OFFLINE", "1")

from transformers import PreTrainedTokenizerFast  # noqa: E402

tokenizer = PreTrainedTokenizerFast.from_pretrained(sys.argv[1])
ids = [tokenizer(text).input_ids for text in json.load(sys.stdin)]
print(json.dumps({
    "ids": ids,
    "decoded": [tokenizer.decode(row, skip_special_tokens=True) for row in ids],
    "special": [tokenizer.pad_token_id, tokenizer.bos_token_id, tokenizer.eos_token_id],
}))
