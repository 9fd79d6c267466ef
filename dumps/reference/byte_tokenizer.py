"""A byte-level tokenizer: ids 0 to 255 are the bytes, then pad, bos and eos. Text is preceded by bos, as ZAYA's is."""

import json
from pathlib import Path

from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, processors

SPECIAL = {"pad": 256, "bos": 257, "eos": 258}
VOCAB_SIZE = 259


def encode_text(text: str) -> list[int]:
    """bos and the UTF-8 bytes of `text`: what the saved tokenizer gives for it."""
    return [SPECIAL["bos"], *text.encode()]


def save_tokenizer(out: Path) -> None:
    """Writes tokenizer.json and tokenizer_config.json, for transformers and for @huggingface/tokenizers."""
    tokenizer = Tokenizer(models.BPE(vocab={char: byte for byte, char in _byte_alphabet().items()}, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken(f"<{name}>", special=True, normalized=False) for name in SPECIAL])
    bos = ("<bos>", SPECIAL["bos"])
    tokenizer.post_processor = processors.TemplateProcessing(single="<bos> $A", special_tokens=[bos])
    assert all(tokenizer.token_to_id(f"<{name}>") == number for name, number in SPECIAL.items())
    tokenizer.save(str(out / "tokenizer.json"))
    settings = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "clean_up_tokenization_spaces": False,
        **{f"{name}_token": f"<{name}>" for name in SPECIAL},
    }
    (out / "tokenizer_config.json").write_text(json.dumps(settings, indent=2) + "\n", encoding="utf-8")


def _byte_alphabet() -> dict[int, str]:
    """The printable character that stands for each byte in a byte-level vocabulary.

    Printable Latin-1 bytes stand for themselves; the others take the code points from 256 on, in order.
    """
    kept = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    moved = [byte for byte in range(256) if byte not in kept]
    return {byte: chr(byte) for byte in kept} | {byte: chr(256 + i) for i, byte in enumerate(moved)}
