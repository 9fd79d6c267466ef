"""The independent readers of the fuzz bench, and the files that it begins with.

    oracle.py seeds FOLDER      writes the seed files that Python's own writers make
    oracle.py                   reads lines {"kind", "path"} and answers each with {"values": [[name, shape, digest]]} or {"error"}

Digests are those of digest.mjs. Readers: pyarrow, NumPy, safetensors, gguf-py, torch, tokenizers, transformers.
"""

import hashlib
import json
import os
import re
import resource
import struct
import sys
import zipfile

import numpy as np

LIMIT = 4 << 30


def digest_numbers(values) -> str:
    doubles = np.ascontiguousarray(values).astype(np.float64).reshape(-1)
    doubles[np.isnan(doubles)] = np.nan
    return hashlib.sha256(doubles.astype("<f8").tobytes()).hexdigest()


def digest_bytes(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def digest_text(text: str) -> str:
    return digest_bytes(text.encode("utf-8"))


def by_name(entries):
    # As JavaScript sorts: by UTF-16 units.
    return sorted(entries, key=lambda entry: entry[0].encode("utf-16-be", "surrogatepass"))


def arrow_table(path):
    import pyarrow as pa

    return pa.ipc.open_file(path).read_all()


def arrow(path):
    import pyarrow as pa

    manifest = json.load(open(os.path.join(path, "manifest.json")))
    table = arrow_table(os.path.join(path, "layers.1.arrow"))
    entries = []
    for tap in manifest["taps"]:
        if tap["file"] != "layers.1.arrow":
            continue
        # Shapes that vary are left out on both sides.
        if pa.types.is_list(table.schema.field(tap["name"]).type):
            continue
        column = table.column(tap["name"]).combine_chunks()
        if hasattr(column, "storage"):
            column = column.storage
        values = column.flatten() if pa.types.is_fixed_size_list(column.type) else column
        numbers = values.to_numpy(zero_copy_only=False)
        entries.append([tap["name"], [table.num_rows, *tap["shape"]], digest_numbers(numbers)])
    return by_name(entries)


def stats(path):
    table = arrow_table(os.path.join(path, "stats.arrow"))
    return [["rows", [table.num_rows], digest_numbers(table.column("rms").to_numpy())]]


def hashes(path):
    table = arrow_table(os.path.join(path, "hash.arrow"))
    return [["rows", [table.num_rows], digest_text("\n".join(table.column("sha256").to_pylist()))]]


def recording(path):
    """Which columns of the damaged recording differ from the whole one's, and whether nothing at all does."""
    run, whole = os.path.join(path, "run"), os.path.join(path, "whole")
    changed = []
    for file in sorted(os.listdir(whole)):
        if not file.endswith(".arrow") or file == "stats.arrow":
            continue
        one, other = (arrow_table(os.path.join(folder, file)) for folder in (run, whole))
        for name in other.schema.names:
            if name not in one.schema.names or buffers(one.column(name)) != buffers(other.column(name)):
                changed.append(name)
    same = all(
        json.load(open(os.path.join(run, file), encoding="utf-8")) == json.load(open(os.path.join(whole, file), encoding="utf-8"))
        for file in ("manifest.json", "graph.json")
    )
    return [["changed", [], changed], ["whole", [], same and not changed]]


def buffers(column):
    column = column.combine_chunks()
    column = column.storage if hasattr(column, "storage") else column
    # Bytes of values and lengths, whatever is null.
    return repr(column.to_pylist())


def torch_values(tensors):
    import torch

    entries = []
    for name, tensor in tensors.items():
        if tensor.dtype in (torch.bfloat16, torch.float16):
            tensor = tensor.to(torch.float32)
        entries.append([name, list(tensor.shape), digest_numbers(tensor.detach().numpy())])
    return by_name(entries)


def safetensors_file(path):
    from safetensors.torch import load_file

    return torch_values(load_file(path))


def index(path):
    import torch
    from safetensors import safe_open

    weight_map = json.load(open(os.path.join(path, "model.safetensors.index.json")))["weight_map"]
    entries = []
    # As transformers: every tensor of every shard that the index names.
    for file in sorted(set(weight_map.values())):
        with safe_open(os.path.join(path, file), "pt") as shard:
            for name in shard.keys():
                tensor = shard.get_tensor(name)
                entries.append([name, list(tensor.shape), digest_bytes(tensor.view(torch.uint8).numpy().tobytes())])
    return by_name(entries)


def npy(path):
    value = np.load(os.path.join(path, "value.npy"), allow_pickle=False)
    return [["value", list(value.shape), digest_numbers(value)]]


def npz(path):
    with np.load(path, allow_pickle=False) as values:
        return by_name([[name, list(values[name].shape), digest_numbers(values[name])] for name in values.files])


def pytorch(path):
    import torch

    found = torch.load(path, weights_only=True, map_location="cpu")
    return torch_values({"": found} if isinstance(found, torch.Tensor) else found)


def gguf(path):
    from gguf import GGUFReader

    reader = GGUFReader(path)
    # To ggml an axis of one entry at the slow end is none.
    shapes = [[int(n) for n in reversed(t.shape)] for t in reader.tensors]
    shapes = [shape[next((k for k, n in enumerate(shape[:-1]) if n != 1), len(shape) - 1) :] for shape in shapes]
    return by_name([[t.name, shape, digest_bytes(t.data.tobytes())] for t, shape in zip(reader.tensors, shapes)])


def imatrix(path):
    """`llama-imatrix`'s older format: entries of name, calls and sums, then chunks and the data set's name."""
    data = open(path, "rb").read()
    at = 0

    def i32():
        nonlocal at
        (value,) = struct.unpack_from("<i", data, at)
        at += 4
        return value

    entries = {}
    for _ in range(i32()):
        length = i32()
        name = data[at : at + length].decode("utf-8")
        at += length
        calls, count = i32(), i32()
        sums = np.frombuffer(data, "<f4", count, at).astype(np.float32)
        at += 4 * count
        entries[name] = sums / np.float32(calls) if calls > 0 else sums
    return by_name([[name, [len(values)], digest_numbers(values)] for name, values in entries.items()])


TEXT = "Monday 04:33, captain é — 💥\n\n  end"


def tokenizer(path):
    from tokenizers import Tokenizer

    ids = Tokenizer.from_file(os.path.join(path, "tokenizer.json")).encode(TEXT, add_special_tokens=False).ids
    return [["ids", [], digest_text(",".join(map(str, ids)))]]


MESSAGES = [
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": 'Hi <there> & "you"'},
    {"role": "assistant", "content": "Hello"},
    {"role": "user", "content": "More"},
]


def template(path):
    from transformers.utils.chat_template_utils import _compile_jinja_template

    text = open(os.path.join(path, "chat_template.jinja"), encoding="utf-8", newline="").read()
    if "range(1000" in text or "**" in text or "]*" in text:
        raise ValueError("left out: would not end here")
    special = json.load(open(os.path.join(path, "tokenizer_config.json")))
    texts = {key: value for key, value in special.items() if key.endswith("_token") and isinstance(value, str)}
    rendered = _compile_jinja_template(text).render(
        messages=MESSAGES, tools=None, documents=None, add_generation_prompt=True, **texts
    )
    return [["text", [], digest_text(rendered)]]


def tokens(path):
    data = open(path, "rb").read()
    try:
        if b"\0" in data:
            raise ValueError("no text")
        text = data.decode("utf-8-sig").strip()
    except ValueError:
        # As llama.cpp's scripts write them.
        value = np.frombuffer(data, "<i4").tolist()
        return [["tokens", [], digest_text(json.dumps([value], separators=(",", ":")))]]
    # Numbers of a text file; json reads a lone one as a number, too.
    value = json.loads(text) if text[:1] in ("[", "{") else [int(part) for part in re.split(r"[\s,]+", text) if part]
    if isinstance(value, dict):
        value = value.get("tokens", value.get("sequences", value.get("input_ids")))
    if not any(isinstance(entry, list) for entry in value):
        value = [value]
    return [["tokens", [], digest_text(json.dumps(value, separators=(",", ":")))]]


READERS = {
    "arrow": arrow,
    "stats": stats,
    "hash": hashes,
    "recording": recording,
    "safetensors": safetensors_file,
    "index": index,
    "npy": npy,
    "npz": npz,
    "pytorch": pytorch,
    "gguf": gguf,
    "imatrix": imatrix,
    "tokenizer": tokenizer,
    "template": template,
    "tokens": tokens,
}


def seeds(folder):
    import torch
    from gguf import GGUFWriter
    from safetensors.torch import save_file

    rng = np.random.default_rng(1)

    def sub(name):
        path = os.path.join(folder, name)
        os.makedirs(path, exist_ok=True)
        return path

    def values(*shape):
        return rng.standard_normal(shape).astype(np.float32)

    tensors = {
        "model.layers.0.mlp": torch.from_numpy(values(6, 4)),
        "embed": torch.from_numpy(values(6, 3)).to(torch.bfloat16),
        "half": torch.from_numpy(values(6, 2)).to(torch.float16),
        "ids": torch.arange(6, dtype=torch.int64),
    }
    save_file(tensors, os.path.join(sub("safetensors"), "values.safetensors"))
    shards = sub("index")
    names = list(tensors)
    for k in (0, 1):
        save_file({n: tensors[n] for n in names[2 * k : 2 * k + 2]}, os.path.join(shards, f"model-0000{k + 1}-of-00002.safetensors"))
    weight_map = {n: f"model-0000{k // 2 + 1}-of-00002.safetensors" for k, n in enumerate(names)}
    json.dump({"metadata": {"total_size": 240}, "weight_map": weight_map}, open(os.path.join(shards, "model.safetensors.index.json"), "w"))
    np.save(os.path.join(sub("npy"), "value.npy"), values(6, 5))
    np.savez(os.path.join(sub("npz"), "values.npz"), a=values(6, 4), b=values(6), c=np.arange(6))
    torch.save({name: tensor for name, tensor in tensors.items()}, os.path.join(sub("pytorch"), "pytorch_model.bin"))
    for kind, file in (("npz", "values.npz"), ("pytorch", "pytorch_model.bin")):
        path = os.path.join(folder, kind, file)
        # The members beside the archive, so that a mutant of one has a checksum that holds.
        with zipfile.ZipFile(path) as archive:
            for name in archive.namelist():
                target = os.path.join(folder, kind, "members", name)
                os.makedirs(os.path.dirname(target), exist_ok=True)
                open(target, "wb").write(archive.read(name))
    writer = GGUFWriter(os.path.join(sub("gguf"), "model.gguf"), "llama")
    writer.add_block_count(1)
    writer.add_token_list([f"t{k}" for k in range(40)])
    writer.add_array("general.tags", ["a", "b"])
    writer.add_float32("llama.epsilon", 1e-5)
    for name in ("token_embd.weight", "blk.0.attn_q.weight", "output_norm.weight"):
        writer.add_tensor(name, values(8, 32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    with open(os.path.join(sub("imatrix"), "imatrix.dat"), "wb") as file:
        file.write(struct.pack("<i", 2))
        for name in (b"blk.0.attn_q.weight", b"output.weight"):
            sums = np.abs(values(32))
            file.write(struct.pack("<i", len(name)) + name + struct.pack("<ii", 4, 32) + sums.tobytes())
        file.write(struct.pack("<ii", 4, 5) + b"a.txt")
    with open(os.path.join(sub("logits"), "logits.txt"), "w") as file:
        file.writelines(f"{k}: {value:.6f}\n" for k, value in enumerate(values(40)))


def main():
    if sys.argv[1:2] == ["seeds"]:
        seeds(sys.argv[2])
        return
    resource.setrlimit(resource.RLIMIT_AS, (LIMIT * 4, LIMIT * 4))
    for line in sys.stdin:
        call = json.loads(line)
        try:
            answer = {"values": READERS[call["kind"]](call["path"])}
        except BaseException as error:  # tokenizers panics with a BaseException
            if isinstance(error, (KeyboardInterrupt, SystemExit)):
                raise
            answer = {"error": f"{type(error).__name__}: {error}"[:300]}
        print(json.dumps(answer), flush=True)


main()
