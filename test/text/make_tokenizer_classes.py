"""What transformers makes of a tokenizer.json under each of its tokenizer classes. Writes the fixture of that test.

    .venv/bin/python test/text/make_tokenizer_classes.py test/text/fixtures/tokenizer-classes.json.gz

It holds the names that AutoTokenizer knows, and cases: {"kind", "config", "model", "class", "ids", "decoded"}: a kind of tokenizer.json (below, as
patches of those in tokenizers.json.gz), what tokenizer_config.json and config.json say, and what AutoTokenizer gives. "ids" counts into "rows"
(each a list of ids by text, with special tokens and without) and is null where transformers fails.
"""

import ast
import glob
import gzip
import json
import os
import random
import sys
import tempfile

os.environ["TRANSFORMERS_VERBOSITY"] = "error"

import transformers  # noqa: E402
from transformers import AutoTokenizer  # noqa: E402
from transformers.models.auto import tokenization_auto as auto  # noqa: E402

with gzip.open(os.path.join(os.path.dirname(__file__), "fixtures", "tokenizers.json.gz")) as file:
    known = json.load(file)


def whole(name):
    each = known["kinds"][name]
    base = known["bases"][each["base"]]
    return {**base, **each["json"], "model": {**base["model"], **each["json"].get("model", {})}}


def patched(name, **patch):
    json_file = whole(name)
    return {**json_file, **patch, "model": {**json_file["model"], **patch.get("model", {})}}


NFC = {"type": "NFC"}
BYTES = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
WORDS = {"[UNK]": 0, "the": 1, "model": 2, "a": 3, "##s": 4, "hello": 5, "<eos>": 6, "<bos>": 7}
KINDS = {
    "gpt-2": whole("gpt-2"),
    "llama-3": whole("llama-bpe"),
    "qwen2": {**whole("qwen2"), "normalizer": NFC},
    "neox": {**whole("gpt-2"), "normalizer": NFC},
    "cohere": patched("gpt-2", normalizer=NFC, pre_tokenizer={
        "type": "Sequence", "pretokenizers": [{"type": "Digits", "individual_digits": True}, BYTES]}),
    "gemma": whole("gemma"),
    "llama": whole("llama"),
    "metaspace": whole("metaspace-first"),
    "wordpiece": {
        **whole("gpt-2"), "added_tokens": [], "post_processor": None, "decoder": {"type": "WordPiece", "prefix": "##", "cleanup": True},
        "pre_tokenizer": {"type": "BertPreTokenizer"}, "model": {
            "type": "WordPiece", "unk_token": "[UNK]", "continuing_subword_prefix": "##", "max_input_chars_per_word": 100, "vocab": WORDS}},
    "unigram": {
        **whole("llama"), "added_tokens": [], "post_processor": None, "model": {
            "type": "Unigram", "unk_id": 0, "byte_fallback": False, "vocab": [["<unk>", 0.0], ["<s>", 0.0], ["</s>", 0.0], ["▁", -2.0], ["▁the", -3.0], ["a", -4.0]]}},
}
TEXTS = [
    "hello world", " the  model\n\n\nruns", "<bos>the<eos> é e\u0301 ①", "I've WE'LL 12345 x2", "名前 हिन्दी ▁x", "<|endoftext|>a<unk> <mask>b</s>",
    "\tif (a) { return b; }\r\n", "<tool>a <two> b<start_of_turn>x", "", "a<eos>b c", "a b  x hello the<tool> x é<two>▁the",
]
SPECIAL = {"bos_token": "<bos>", "eos_token": "<eos>", "unk_token": "<unk>", "pad_token": "<pad>"}
TOOL = {"content": "<tool>", "lstrip": False, "rstrip": False, "normalized": False, "single_word": False, "special": True}
DECODER = {str(at): {**TOOL, "content": name} for at, name in enumerate(("<pad>", "<eos>", "<bos>", "<unk>"))}

names = {name for name in auto.TOKENIZER_MAPPING_NAMES.values() if name}
for file in glob.glob(os.path.join(os.path.dirname(transformers.__file__), "models", "*", "tokenization_*.py")):
    with open(file, encoding="utf-8") as text:
        body = ast.parse(text.read()).body
    names |= {node.name for node in body if isinstance(node, ast.ClassDef) and "Tokenizer" in node.name}
names |= {name for name in dir(transformers) if name.endswith(("Tokenizer", "TokenizerFast", "TokenizerBase"))}
names |= {"BloomTokenizer", "TokenizersBackend", "MyOwnTokenizer", "MyOwnTokenizerFast", ""}
names |= {name + "Fast" for name in names if name and not name.endswith("Fast")}


def class_of(name):
    try:
        found = auto.tokenizer_class_from_name(name)
    except Exception:  # noqa: BLE001  needs a package that is not there
        return name
    return None if found is None else found.__name__


rows, numbers, cases, kinds_of = [], {}, [], {}


def case(kind, config, model=None, files=None):
    entry = {"kind": kind, "config": config, "model": model, **({"files": files} if files else {})}
    with tempfile.TemporaryDirectory() as folder:
        contents = {"tokenizer.json": KINDS[kind], "tokenizer_config.json": config, "config.json": model, **(files or {})}
        for name, content in contents.items():
            if content is not None:
                with open(os.path.join(folder, name), "w") as out:
                    json.dump(content, out)
        try:
            tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=None)
            entry["class"] = type(tokenizer).__name__
            made = [[tokenizer(text)["input_ids"] for text in TEXTS], [tokenizer(text, add_special_tokens=False)["input_ids"] for text in TEXTS]]
            decoded = [tokenizer.decode(ids, skip_special_tokens=False, clean_up_tokenization_spaces=False) for ids in made[1]]
            key = json.dumps([made, decoded])
            if key not in numbers:
                numbers[key] = len(rows)
                rows.append({"ids": made[0], "plain": made[1], "decoded": decoded})
            entry["ids"] = numbers[key]
        except Exception as error:  # noqa: BLE001  what transformers refuses
            entry["ids"], entry["error"] = None, type(error).__name__
    cases.append(entry)


# Every class over kinds of every model, those that build a pipeline of byte pairs over every kind.
BUILT = ["LlamaTokenizerFast", "GemmaTokenizerFast", "Qwen2TokenizerFast", "Qwen3_5Tokenizer", "GPT2TokenizerFast", "CodeGenTokenizer", "GPTNeoXTokenizerFast",
         "CohereTokenizerFast", "PreTrainedTokenizerFast"]
for name in sorted(names):
    if name in BUILT or not (name.endswith("Fast") and name[:-4] in names):
        for kind in KINDS if name in BUILT else ("gpt-2", "gemma", "wordpiece", "unigram"):
            case(kind, {"tokenizer_class": name, **SPECIAL})
SMALL = ["gpt-2", "qwen2", "gemma", "llama"]
# What else a config says.
for name in BUILT:
    for kind in SMALL:
        named = {"tokenizer_class": name, **SPECIAL}
        for more in (
            {"add_prefix_space": True}, {"add_prefix_space": False}, {"add_prefix_space": None}, {"legacy": True}, {"legacy": False},
            {"add_bos_token": True, "add_eos_token": True}, {"add_bos_token": False}, {"bos_token": None, "unk_token": None},
            {"added_tokens_decoder": DECODER}, {"added_tokens_decoder": {**DECODER, "900": TOOL, "870": {**TOOL, "content": "<two>"}}},
            {"added_tokens_decoder": {}}, {"split_special_tokens": True}, {"split_special_tokens": False}, {"image_token": "<tool>"},
            {"extra_special_tokens": {"image_token": "<tool>"}}, {"extra_special_tokens": ["<tool>", "<two>"]}, {"mask_token": "<tool>"},
            {"additional_special_tokens": ["<two>"]}, {"errors": "strict", "clean_up_tokenization_spaces": True}, {"tokenizer_file": None},
        ):
            case(kind, {**named, **more})
        case(kind, {"tokenizer_class": name})
        case(kind, {"tokenizer_class": name}, files={"special_tokens_map.json": {"bos_token": "<bos>", "unk_token": "<two>"}})
        case(kind, named, files={"added_tokens.json": {"<two>": 901, "<tool>": 900}})
# Which class a model type takes.
TYPES = ["zaya", "qwen3", "qwen2", "llama", "mistral", "gemma3_text", "deepseek_v3", "bert", "phi3", "olmo", "cohere2", "qwen3_5_moe", "not-a-model"]
for kind in ("gpt-2", "gemma"):
    for model_type in TYPES:
        for name in (*BUILT, None, "", "MyOwnTokenizer", "BertTokenizer"):
            case(kind, {**SPECIAL, **({} if name is None else {"tokenizer_class": name})}, {"model_type": model_type})
        case(kind, None, {"model_type": model_type})
        for name in ("Qwen2Tokenizer", "GemmaTokenizerFast", "MyOwnTokenizer", "PreTrainedTokenizerFast"):
            case(kind, SPECIAL, {"model_type": model_type, "tokenizer_class": name})
for mapped in ({"AutoTokenizer": [None, "own.MyTokenizer"]}, {"AutoTokenizer": ["own.MyTokenizer", None]}, ["own.MyTokenizer", None], {"AutoModel": "own.Model"}):
    for name in ("MyTokenizer", "PreTrainedTokenizerFast", "GPT2TokenizerFast", None):
        for model in (None, {"model_type": "zaya"}, {"model_type": "deepseek_v3"}, {"model_type": "not-a-model"}):
            case("gpt-2", {**SPECIAL, "auto_map": mapped, **({} if name is None else {"tokenizer_class": name})}, model)

# Everything at once.
random.seed(5)
TOKENS = ["<tool>", "<two>", "<bos>", "<eos>", "the", "model", "<|endoftext|>", " x", "é", "<mask>", "hello", "▁the", "a b"]
FLAGS = ("lstrip", "rstrip", "normalized", "single_word")


def flagged():
    return {"content": random.choice(TOKENS), **{flag: random.random() < 0.25 for flag in FLAGS}, "special": random.random() < 0.5}


def mixed():
    config = {"tokenizer_class": random.choice([*BUILT, "PreTrainedTokenizerFast", "MyOwnTokenizer"])}
    for name in ("bos_token", "eos_token", "unk_token", "pad_token", "mask_token", "cls_token", "image_token", "boi_token"):
        draw = random.random()
        if draw < 0.5:
            config[name] = random.choice(TOKENS) if draw < 0.35 else {**flagged(), "__type": "AddedToken"} if draw < 0.45 else None
    if random.random() < 0.3:
        config["added_tokens_decoder"] = {str(random.choice([0, 1, 2, 3, 300, 700, 801, 900, 10000])): flagged() for _ in range(random.randint(0, 4))}
    if random.random() < 0.2:
        config["extra_special_tokens"] = random.choice([[], {}, [random.choice(TOKENS)], {"a_token": random.choice(TOKENS)}])
    if random.random() < 0.15:
        config["additional_special_tokens"] = random.choices(TOKENS, k=2)
    for name in ("add_prefix_space", "legacy", "add_bos_token", "add_eos_token"):
        if random.random() < 0.25:
            config[name] = random.random() < 0.5
    files = {}
    if random.random() < 0.25:
        value = random.choice([random.choice(TOKENS), {key: flag for key, flag in flagged().items() if key != "special"}])
        files["special_tokens_map.json"] = {random.choice(["bos_token", "eos_token", "unk_token", "image_token"]): value}
    if random.random() < 0.15:
        files["added_tokens.json"] = {name: 900 + at for at, name in enumerate(random.sample(TOKENS, 2))}
    return config, files


for _ in range(400):
    config, files = mixed()
    letters = "gemma llama metaspace" if config["tokenizer_class"].startswith(("Llama", "Gemma")) else "gpt-2 llama-3 qwen2 neox cohere"
    case(random.choice(letters.split()), config, random.choice([None, None, {"model_type": "zaya"}, {"model_type": "llama"}]), files)

document = {
    "version": transformers.__version__,
    "types": {name: value for name, value in auto.TOKENIZER_MAPPING_NAMES.items()},
    "wrong": sorted(auto.MODELS_WITH_INCORRECT_HUB_TOKENIZER_CLASS),
    "classes": {name: class_of(name) for name in sorted(names)},
    "texts": TEXTS, "kinds": KINDS, "rows": rows, "cases": cases,
}
with open(sys.argv[1], "wb") as out:
    out.write(gzip.compress(json.dumps(document, separators=(",", ":")).encode(), mtime=0))
print(len(cases), "cases,", len(rows), "of them different")
