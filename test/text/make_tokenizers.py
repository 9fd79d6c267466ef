"""Small tokenizers of many kinds, 200 texts, and what transformers makes of them. Writes the fixture of the tokenizer tests.

    .venv/bin/python test/text/make_tokenizers.py test/text/fixtures/tokenizers.json.gz

A kind is its files as patches of a base: {"base": name, "json": patch of tokenizer.json, "files": {name: content}}. A patch replaces keys, and
those of "model" one by one. For each kind: ids with and without special tokens, and the texts that ids give back.
"""

import copy
import gzip
import json
import os
import random
import sys
import tempfile

os.environ["TRANSFORMERS_VERBOSITY"] = "error"

from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers  # noqa: E402
from transformers import AutoTokenizer  # noqa: E402

random.seed(11)
WORDS = (
    "the model runs a test and writes a dump of every layer so that a port can be compared with it I've don't WE'LL "
    "Grüße naïve Ωμέγα слово 名前 データ 한국어 عربى हिन्दी 12 345 2026 x = y + 1; if (a) { return b; } <td> 😀 … — «q» f(x)"
).split(" ")
CORPUS = (
    [" ".join(random.choices(WORDS, k=12)) for _ in range(400)]
    + ["\n".join(random.choices(WORDS, k=5)) for _ in range(100)]
    + ["    " + "\t".join(random.choices(WORDS, k=3)) + "\r\n\r\n" for _ in range(60)]
)
SPECIAL = ["<pad>", "<eos>", "<bos>", "<unk>"]
BYTES = [f"<0x{byte:02X}>" for byte in range(256)]


def train(tokenizer, special, size):
    trainer = trainers.BpeTrainer(
        vocab_size=size, special_tokens=special, show_progress=False,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet() if special == SPECIAL else [],
    )
    tokenizer.train_from_iterator(CORPUS, trainer)
    result = json.loads(tokenizer.to_str())
    result["added_tokens"] = [each for each in result["added_tokens"] if each["content"] not in BYTES]
    return result


def gemma():
    tokenizer = Tokenizer(models.BPE(byte_fallback=True, unk_token="<unk>", fuse_unk=True))
    tokenizer.normalizer = normalizers.Replace(" ", "▁")
    words = pre_tokenizers.Split(" ", "merged_with_previous")
    lines = pre_tokenizers.Split("\n", "isolated")
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([words, lines])  # so that no merge joins a line end
    tokenizer.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()])
    result = train(tokenizer, SPECIAL + BYTES, 760)
    tokenizer.pre_tokenizer = words
    return {**result, "pre_tokenizer": json.loads(tokenizer.to_str())["pre_tokenizer"]}


def bytelevel():
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    return train(tokenizer, SPECIAL, 800)


def sentencepiece(base):
    """The same vocabulary with every split of a token into two as a merge, as converters of SentencePiece write it."""
    vocab = base["model"]["vocab"]
    special = set(SPECIAL + BYTES)
    merges = [
        [token[:at], token[at:]]
        for token, _ in sorted(vocab.items(), key=lambda item: item[1])
        if token not in special
        for at in range(1, len(token))
        if token[:at] in vocab and token[at:] in vocab
    ]
    return {**base, "model": {**base["model"], "merges": merges}}


def add(base, *tokens):
    """`added_tokens` with more of them, numbered as `tokenizers` numbers them."""
    added = copy.deepcopy(base["added_tokens"])
    for content, special, flags in tokens:
        known = base["model"]["vocab"].get(content)
        following = max(len(base["model"]["vocab"]), *(each["id"] + 1 for each in added))
        added.append({
            "id": following if known is None else known, "content": content, "single_word": False, "lstrip": False,
            "rstrip": False, "normalized": False, "special": special, **flags,
        })
    return added


def template(before=("<bos>",), after=()):
    ids = {"<bos>": 2, "<eos>": 1}
    pieces = lambda names: [{"SpecialToken": {"id": name, "type_id": 0}} for name in names]  # noqa: E731
    single = [*pieces(before), {"Sequence": {"id": "A", "type_id": 0}}, *pieces(after)]
    return {
        "type": "TemplateProcessing", "single": single, "pair": [*single, {"Sequence": {"id": "B", "type_id": 1}}],
        "special_tokens": {name: {"id": name, "ids": [ids[name]], "tokens": [name]} for name in (*before, *after)},
    }


def split(pattern, behavior="Isolated", invert=False):
    return {"type": "Split", "pattern": {"Regex": pattern}, "behavior": behavior, "invert": invert}


def sequence(*steps, gpt2=False):
    last = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": gpt2}
    return {"type": "Sequence", "pretokenizers": [*steps, last]}


CONTRACTION = "(?i:'s|'t|'re|'ve|'m|'ll|'d)"
BLANKS = r"\s*[\r\n]+|\s+(?!\S)|\s+"
LLAMA3 = CONTRACTION + r"|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|" + BLANKS
QWEN2 = LLAMA3.replace("{1,3}", "")
QWEN35 = CONTRACTION + r"|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N}| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*|" + BLANKS
DEEPSEEK = (
    r"\p{N}{1,3}", "[一-龥\u3040-ゟ゠-ヿ]+",
    "[!\"#$%&'()*+,\\-./:;<=>?@\\[\\\\\\]^_`{|}~][A-Za-z]+|[^\r\n\\p{L}\\p{P}\\p{S}]?[\\p{L}\\p{M}]+|"
    " ?[\\p{P}\\p{S}]+[\r\n]*|\\s*[\r\n]+|\\s+(?!\\S)|\\s+",
)
GPT4O = (
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?|"
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?|"
    r"\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|" + BLANKS
)

BASES = {"gemma": gemma(), "bytes": bytelevel()}
BASES["pieces"] = sentencepiece(BASES["gemma"])
CONFIG = {
    "tokenizer_class": "PreTrainedTokenizerFast", "bos_token": "<bos>", "eos_token": "<eos>", "unk_token": "<unk>",
    "pad_token": "<pad>", "clean_up_tokenization_spaces": False,
}
TURNS = [("<start_of_turn>", True, {}), ("<end_of_turn>", True, {}), *[("▁" * n, False, {}) for n in range(2, 6) if "▁" * n in BASES["gemma"]["model"]["vocab"]],
         *[("\n" * n, False, {}) for n in range(2, 6)], ("<td>", False, {}), ("</td>", False, {})]
FLAGS = [("<sp>", True, {"lstrip": True, "rstrip": True}), ("XYZ", False, {"normalized": True}),
         ("word", False, {"single_word": True}), ("a b", False, {"normalized": True}), ("<L>", False, {"lstrip": True})]
KINDS = {}


def kind(name, base, patch=None, files=None, config=CONFIG):
    patch = {"post_processor": template(), **(patch or {})}
    if "added_tokens" not in patch:
        turns = TURNS if base != "bytes" else [each for each in TURNS if "▁" not in each[0]]
        patch["added_tokens"] = add(BASES[base], *turns)
    KINDS[name] = {"base": base, "json": patch, "files": {"tokenizer_config.json": config, **(files or {})}}


def without(*keys):
    return {key: value for key, value in CONFIG.items() if key not in keys}


MARK = {"type": "Replace", "pattern": {"String": " "}, "content": "▁"}
# Kinds that convert writes.
kind("gemma", "gemma")
kind("gpt-2", "bytes")
kind("llama-bpe", "bytes", {"pre_tokenizer": sequence(split(LLAMA3)), "model": {"ignore_merges": True}})
kind("smaug-bpe", "bytes", {"pre_tokenizer": sequence(split(LLAMA3)), "post_processor": template(after=("<eos>",))})
kind("qwen2", "bytes", {"pre_tokenizer": sequence(split(QWEN2)), "post_processor": None})
kind("qwen35", "bytes", {"pre_tokenizer": sequence(split(QWEN35))})
kind("deepseek-v3", "bytes", {"pre_tokenizer": sequence(*map(split, DEEPSEEK))})
kind("smollm", "bytes", {"pre_tokenizer": sequence({"type": "Digits", "individual_digits": True}, gpt2=True)})
kind("no-merges", "bytes", {
    "model": {"vocab": {token: at for at, token in enumerate([*SPECIAL, *sorted(pre_tokenizers.ByteLevel.alphabet())])},
              "merges": []},
    "added_tokens": BASES["bytes"]["added_tokens"],
})
kind("llama", "pieces", {"normalizer": {"type": "Sequence", "normalizers": [{"type": "Prepend", "prepend": "▁"}, MARK]},
                         "pre_tokenizer": None, "added_tokens": BASES["gemma"]["added_tokens"]})
kind("llama-no-prefix", "pieces", {"post_processor": None})
# Kinds that convert refuses.
JOINED = BASES["gemma"]["model"]
kind("joined-lines", "gemma", {"model": {
    "vocab": {**JOINED["vocab"], "e\n": len(JOINED["vocab"])}, "merges": [*JOINED["merges"], ["e", "\n"]]},
    "added_tokens": BASES["gemma"]["added_tokens"]})
kind("flags", "gemma", {"added_tokens": add(BASES["gemma"], *TURNS, *FLAGS)})
kind("flags-bytes", "bytes", {"added_tokens": add(BASES["bytes"], *FLAGS)})
kind("nfc", "gemma", {"normalizer": {"type": "Sequence", "normalizers": [{"type": "NFC"}, MARK]}})
kind("ignore-merges", "gemma", {"model": {"ignore_merges": True}})
kind("prepend", "gemma", {"normalizer": {"type": "Sequence", "normalizers": [{"type": "Prepend", "prepend": "▁"}, MARK]},
                          "pre_tokenizer": None})
kind("metaspace-first", "gemma", {"normalizer": None, "pre_tokenizer": {
    "type": "Metaspace", "replacement": "▁", "prepend_scheme": "first", "split": False}})
kind("metaspace-split", "gemma", {
    "normalizer": None,
    "pre_tokenizer": {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "always", "split": True},
    "decoder": {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "always", "split": True}})
kind("gpt-4o", "bytes", {"pre_tokenizer": sequence(split(GPT4O))})
kind("split-previous", "bytes", {"pre_tokenizer": sequence(split(r"\p{P}+|\s", "MergedWithPrevious"))})
kind("split-next", "bytes", {"pre_tokenizer": sequence(split(r"\s", "MergedWithNext"))})
kind("split-runs", "bytes", {"pre_tokenizer": sequence(split(r"\d", "Contiguous"), {"type": "Punctuation",
                                                                                    "behavior": "Contiguous"})})
kind("split-invert", "bytes", {"pre_tokenizer": sequence(split(r"\w+", "Removed", True))})
kind("lower", "bytes", {"normalizer": {"type": "Sequence", "normalizers": [
    {"type": "NFD"}, {"type": "Lowercase"}, {"type": "StripAccents"}, {"type": "Strip", "strip_left": True,
                                                                       "strip_right": True}]}})
kind("unknown", "gemma", {"model": {"byte_fallback": False}})
kind("prefix-space", "bytes", {"pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True,
                                                 "use_regex": True}})
# What the files beside tokenizer.json say.
kind("no-config-bos", "gemma", files={"special_tokens_map.json": {"bos_token": "<bos>", "eos_token": {
    "content": "<eos>", "lstrip": False, "normalized": False, "rstrip": False, "single_word": False}}},
     config=without("bos_token", "eos_token"))
kind("map-first", "gemma", files={"special_tokens_map.json": {"eos_token": "<end_of_turn>"}})
kind("bos-flag", "gemma", {"post_processor": template(before=())}, config={**CONFIG, "add_bos_token": True})
kind("bos-flag-off", "gemma", {"post_processor": template(after=("<eos>",))},
     config={**CONFIG, "add_bos_token": False, "add_eos_token": False})
kind("truncation", "gemma", {
    "truncation": {"direction": "Right", "max_length": 4, "strategy": "LongestFirst", "stride": 0},
    "padding": {"strategy": {"Fixed": 8}, "direction": "Left", "pad_to_multiple_of": None, "pad_id": 0, "pad_type_id": 0,
                "pad_token": "<pad>"}})
TOOL = {"content": "<tool>", "lstrip": False, "rstrip": False, "normalized": False, "single_word": False, "special": True}
kind("added-decoder", "gemma", config={**CONFIG, "added_tokens_decoder": {"900": {**TOOL, "content": "<two>"}, "880": TOOL}})
kind("extra-tokens", "gemma", config={**CONFIG, "extra_special_tokens": ["<tool>", "<two>"]})
kind("more-tokens", "gemma", config={**CONFIG, "additional_special_tokens": ["<two>"], "cls_token": "<cls>"})
kind("added-file", "gemma", files={"added_tokens.json": {"<two>": 901, "<tool>": 900}})

TEXTS = [
    "", " ", "  ", "a", " a", "a ", "the model runs", "the  model   runs    a", "line\nline\n\nline\n\n\n\n\n\n\nx",
    "\t\tx\t", "<start_of_turn>user\nhi<end_of_turn>\n", "<bos>the model", "<bos><bos>x", "x<eos>", " <sp> x", "a<sp>b",
    "XYZ xXYZx", "word sword words word", "a b  a b", "x <L> y", "Grüße naïve", "é é", "名前データ", "😀 👩‍👩‍👧",
    "▁x ▁", "\u00a0x\u3000y", "a\r\nb", "a\u0001b", "\ufeffx", "x\ufeff y", "ﬁ ①", "<0x41>", "<td>x</td>", "<unk>",
    "<unused0>", "\ud7ff\ue000", "İı ß ΑΣ", "x" * 50, "<tool>a<two>", "𝒳𝒴", "\u200b\u200d", "12 345", "² ½ Ⅷ ٣ १२ 3",
    "if (a) { return b; }", "    the", "\n", "\n\n", " \n ", "the\n model", "I'VE we'll 'S don't 'x", "a\u0085b\u2028c",
    "हिन्दी عربى 한국어", "1234567 12 3.14", "...!?\n\n  x", "WORLD wORLD World", "\r\r\n \t x", "e\u0323\u0302 x",
    "_word word_ -word- wordé word1", "xé\u0301y", "<eos", "<bos>  <eos>", "�", "a<unk>b",
]
PIECES = [" ", "  ", "\n", "the", "model", " a", "ü", "名", "😀", "<eos>", "<td>", "\t", "x", "<sp>", "XYZ", "word",
          "a b", "\u0301", "<L>", "<start_of_turn>", "1", ".", "\r", "'s", "слово", "²", "Ω", "\u00a0", "B", "İ", "…"]
while len(TEXTS) < 200:
    TEXTS.append("".join(random.choice(PIECES) for _ in range(random.randint(1, 9))))
# Bytes that are no UTF-8, and characters cut in two.
BROKEN = [[4 + 0xE5, 4 + 0x90], [4 + 0xFF], [4 + 0x41, 4 + 0xC3], [4 + 0xC3, 4 + 0xBC, 300], [4 + 0xEF, 4 + 0xBB, 4 + 0xBF, 300],
          [4 + 0xF0, 4 + 0x9F, 4 + 0x98, 2, 4 + 0x80]]

for name, each in KINDS.items():
    definition = {**BASES[each["base"]], **each["json"]}
    definition["model"] = {**BASES[each["base"]]["model"], **each["json"].get("model", {})}
    with tempfile.TemporaryDirectory() as folder:
        for file, content in {"tokenizer.json": definition, **each["files"]}.items():
            with open(os.path.join(folder, file), "w") as out:
                json.dump(content, out)
        tokenizer = AutoTokenizer.from_pretrained(folder)
    rows = [tokenizer(text)["input_ids"] for text in TEXTS]
    plain = [tokenizer(text, add_special_tokens=False)["input_ids"] for text in TEXTS]
    some = BROKEN + [[random.randrange(len(tokenizer)) for _ in range(random.randint(1, 6))] for _ in range(60)]
    decode = lambda ids: tokenizer.decode(ids, skip_special_tokens=False, clean_up_tokenization_spaces=False)  # noqa: E731
    each.update(
        ids=rows, plain=plain, decoded=[decode(ids) for ids in plain],
        some=some, someDecoded=[decode(ids) for ids in some],
        special={key: value for key, value in tokenizer.special_tokens_map.items() if isinstance(value, str)},
    )

document = json.dumps({"texts": TEXTS, "bases": BASES, "kinds": KINDS}, ensure_ascii=True, separators=(",", ":"))
with open(sys.argv[1], "wb") as out:
    out.write(gzip.compress(document.encode(), mtime=0))
print(len(KINDS), "kinds,", len(TEXTS), "texts")
