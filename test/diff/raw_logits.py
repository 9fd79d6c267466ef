"""Raw logits of several dtypes, and what numpy says of them: python test/diff/raw_logits.py FOLDER."""

import json
import os
import sys

import ml_dtypes
import numpy as np

folder = sys.argv[1]
rng = np.random.default_rng(7)
TYPES = {"f32": np.float32, "bf16": ml_dtypes.bfloat16, "f16": np.float16, "f64": np.float64}


def save(name, array):
    array.tofile(os.path.join(folder, name))


# Genuine F32 that looks odd: widened from 16 bits, on a grid, spread over many sizes, mostly masked.
x = (rng.normal(size=260) * 3).astype(np.float32)
ODD = {
    "plain": x,
    "large": rng.normal(size=70_000).astype(np.float32) * 8,
    "from-bf16": x.astype(ml_dtypes.bfloat16).astype(np.float32),
    "from-f16": x.astype(np.float16).astype(np.float32),
    "grid": (np.round(x * 1024) / 1024).astype(np.float32),
    "tenths": (np.arange(260) / 10).astype(np.float32),
    "integers": np.arange(260).astype(np.float32),
    "constant": np.full(260, 1.1, np.float32),
    "small": x * np.float32(1e-9),
    "wide": np.exp(rng.normal(size=260) * 4).astype(np.float32),
    "masked": np.where(np.arange(260) < 200, np.finfo(np.float32).min, x).astype(np.float32),
    "infinite": np.where(np.arange(260) < 200, -np.inf, x).astype(np.float32),
    "softmax": (x - np.log(np.exp(x).sum())).astype(np.float32),
}
for name, values in ODD.items():
    save(f"odd-{name}.bin", values)

expected = {}
for width in (64, 259, 4096, 262_272):
    a = rng.normal(size=width) * 3
    b = a + rng.normal(size=width) * 0.01
    for name, dtype in TYPES.items():
        p, q = a.astype(dtype), b.astype(dtype)
        save(f"a-{width}-{name}.bin", p)
        save(f"b-{width}-{name}.bin", q)
        p, q = p.astype(np.float32).astype(np.float64), q.astype(np.float32).astype(np.float64)
        expected[f"{width}-{name}"] = float(((p - q) ** 2).mean() / p.var())
save("tokens.bin", rng.integers(1, 200_000, size=64).astype(np.int32))
save("tokens-64.bin", rng.integers(1, 200_000, size=64).astype(np.int64))
save("big-endian.bin", x.astype(">f4"))
save("random.bin", rng.integers(0, 256, size=4096).astype(np.uint8))

# Several rows, an archive of 256 MiB that takes little of the disk, and the one logit in which they differ.
rows = np.zeros((256, 262_144), np.float32)
rows[:, :3] = [1, 2, 3]
np.savez_compressed(os.path.join(folder, "rows.npz"), logits=rows)
rows[-1, 0] = 1.5
np.savez_compressed(os.path.join(folder, "other-rows.npz"), logits=rows)
expected["rows"] = float(((rows[-1] - np.where(np.arange(262_144) == 0, 1, rows[-1])) ** 2).mean() / np.where(np.arange(262_144) == 0, 1, rows[-1]).var(dtype=np.float64))

np.savez(os.path.join(folder, "many.npz"), **{f"v{k}": np.arange(4, dtype=np.float32) for k in range(3000)})
for name in ("deflated", "stored"):
    damaged = os.path.join(folder, f"{name}.npz")
    (np.savez_compressed if name == "deflated" else np.savez)(damaged, logits=rng.normal(size=(3, 5000)).astype(np.float32))
    with open(damaged, "r+b") as out:  # one bit of the last row
        out.seek(os.path.getsize(damaged) - 400)
        byte = out.read(1)[0]
        out.seek(-1, os.SEEK_CUR)
        out.write(bytes([byte ^ 1]))
    try:
        np.load(damaged)["logits"]
        sys.exit(f"numpy reads {name}")
    except Exception:  # noqa: BLE001  as it should
        pass


def trimmed(name, logits, end):
    np.save(os.path.join(folder, f"{name}-whole.npy"), logits.astype(np.float32))
    np.save(os.path.join(folder, f"{name}-cut.npy"), logits[:end].astype(np.float32))
    p = np.exp(logits - logits.max())
    expected[name] = {"compared": end / len(logits), "probability": float(p[end:].sum() / p.sum())}


y = rng.normal(size=320) * 3
y[:3] = 20
trimmed("padding", y, 300)
trimmed("most", y, 30)
y[310] = 19
trimmed("likely", y, 300)
print(json.dumps(expected))
