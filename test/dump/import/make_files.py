"""Files of other programs for foreign-files.test.ts, with the values that their own readers give. make_files.py OUT"""
import io, json, os, struct, sys, zipfile, zlib
import ml_dtypes, numpy as np, torch
from safetensors.numpy import save_file

out = sys.argv[1]
rng = np.random.default_rng(7)
A = rng.standard_normal((5, 16)).astype(np.float32)
expected = {}


def npy(name, array, **options):
    folder = os.path.join(out, name)
    os.makedirs(folder)
    np.save(os.path.join(folder, 'norm.npy'), array, **options)
    loaded = np.load(os.path.join(folder, 'norm.npy'), allow_pickle=True)
    if loaded.dtype == np.dtype('V2'):
        loaded = loaded.view(ml_dtypes.bfloat16)
    if loaded.dtype.name == 'bfloat16' or (loaded.dtype.kind in 'fiu' and loaded.dtype.itemsize < 16):
        expected[name] = loaded.astype(np.float64).ravel().tolist()


def raw_npy(name, header, data, version=1):
    folder = os.path.join(out, name)
    os.makedirs(folder)
    length = struct.pack('<H' if version == 1 else '<I', len(header))
    with open(os.path.join(folder, 'norm.npy'), 'wb') as file:
        file.write(b'\x93NUMPY' + bytes([version, 0]) + length + header.encode() + data)
    expected[name] = np.load(os.path.join(folder, 'norm.npy')).astype(np.float64).ravel().tolist()


I = np.arange(80).reshape(5, 16)
npy('big-f4', A.astype('>f4'))
npy('big-f8-fortran', np.asfortranarray(A.astype('>f8')))
npy('big-i4', I.astype('>i4'))
npy('u4', I.astype(np.uint32))
npy('u8', I.astype(np.uint64))
npy('bf16', A.astype(ml_dtypes.bfloat16))
npy('fp8', A.astype(ml_dtypes.float8_e4m3fn))
npy('complex', A.astype(np.complex64))
npy('object', np.array([A, None], dtype=object), allow_pickle=True)
npy('struct', np.zeros(5, dtype=[('a', '<f4'), ('b', '<i4')]))
npy('longdouble', A.astype(np.longdouble))
npy('empty', np.zeros((0, 16), np.float32))
raw_npy('double-quotes', '{"descr": "<f4", "fortran_order": False, "shape": (5, 16), }' + ' ' * 4 + '\n', A.tobytes())
raw_npy('fortran-writer', "{'descr': '<f8', 'fortran_order': True, 'shape': (5,16,), }" + ' ' * 9 + '\n', A.astype(np.float64).tobytes('F'), 2)
raw_npy('version-3', "{'descr': '<f4', 'fortran_order': False, 'shape': (5, 16), }\n", A.tobytes(), 3)
header = "{'descr': '<f4', 'fortran_order': False, 'shape': (5L, 16L), }\n"
os.makedirs(os.path.join(out, 'python-2'))
with open(os.path.join(out, 'python-2', 'norm.npy'), 'wb') as file:
    file.write(b'\x93NUMPY\x01\x00' + struct.pack('<H', len(header)) + header.encode() + A.tobytes())
expected['python-2'] = A.astype(np.float64).ravel().tolist()

D = A.astype(np.float64) * 1e300
raw_npy('word', "{'descr': 'float64', 'fortran_order': False, 'shape': (5, 16), }\n", D.tobytes())
raw_npy('letter', "{'descr': '>d', 'fortran_order': False, 'shape': (5, 16), }\n", D.astype('>f8').tobytes())
raw_npy('literal', "{'descr': '<' r'f4', # a comment\n '\\x73hape': (0b101, \\\n 0x1_0), \"\"\"fortran_order\"\"\": False}\n", A.tobytes())
np.savez(os.path.join(out, 'mixed.npz'), norm=A, meta=np.array({'a': 1}, dtype=object), name=np.array('hello'))
expected['mixed.npz'] = expected['python-2']


class NoSeek(io.RawIOBase):
    def __init__(self, file):
        self.file = file

    def writable(self):
        return True

    def write(self, data):
        return self.file.write(data)


buffer = io.BytesIO()
np.save(buffer, A)
with open(os.path.join(out, 'streamed.npz'), 'wb') as file, zipfile.ZipFile(NoSeek(file), 'w', zipfile.ZIP_DEFLATED) as archive:
    archive.writestr('norm.npy', buffer.getvalue())
expected['streamed.npz'] = expected['python-2']
# A header, then zeros without end: 64 MB in 64 KB.
header = "{'descr': '<f4', 'fortran_order': False, 'shape': (16777216,), }"
with zipfile.ZipFile(os.path.join(out, 'bomb.npz'), 'w', zipfile.ZIP_DEFLATED) as archive:
    archive.writestr('norm.npy', buffer.getvalue())
    archive.writestr('zeros.npy', b'\x93NUMPY\x01\x00' + struct.pack('<H', len(header) + 1) + header.encode() + b'\n' + bytes(4 * 16777216))

torch.save({'norm': torch.from_numpy(A), 'epoch': 3}, os.path.join(out, 'values.pt'))
expected['values.pt'] = expected['python-2']
torch.save({'norm': torch.from_numpy(A.T.copy()).T.to(torch.bfloat16)}, os.path.join(out, 'transposed.bin'))
expected['transposed.bin'] = torch.load(os.path.join(out, 'transposed.bin'))['norm'].double().flatten().tolist()
both = torch.from_numpy(np.concatenate([A * 2, A]))
torch.save({'norm': both[5:]}, os.path.join(out, 'view.pth'))
expected['view.pth'] = expected['python-2']
torch.save(torch.nn.Linear(2, 2), os.path.join(out, 'module.pt'))
# Views whose elements lie apart, repeat, or both; as torch.load gives them.
wide = torch.from_numpy(np.concatenate([A, A * 3], 1))
for name, view in {
    'every-second.pt': both[:5, ::2],
    'columns.pt': wide[:, 7:20],
    'expanded.pt': torch.from_numpy(A[2].copy()).expand(5, 16),
    'expanded-column.pt': torch.from_numpy(A[:, :1].copy()).expand(5, 16),
    'apart-and-turned.pt': wide.t()[1:20:3],
    'windows.pt': both.flatten().as_strided((5, 16), (3, 2), 4),
}.items():
    torch.save({'norm': view}, os.path.join(out, name))
    expected[name] = torch.load(os.path.join(out, name))['norm'].double().flatten().tolist()
torch.save({'norm': torch.zeros(1).expand(1 << 20, 1 << 10)}, os.path.join(out, 'endless.pt'))
torch.save({'norm': torch.from_numpy(A)}, os.path.join(out, 'old.pt'), _use_new_zipfile_serialization=False)

# logits
V = 259
L = (3 * rng.standard_normal(V)).astype(np.float32)
M = L + rng.standard_normal(V).astype(np.float32) * 1e-2
for name, logits in (('reference', L), ('tested', M)):
    path = os.path.join(out, name)
    np.save(path + '.npy', logits)
    np.savez(path + '.npz', lm_head=logits[None], input_ids=np.array([[7]]))
    save_file({'lm_head': logits[None]}, path + '.safetensors')
    torch.save(torch.from_numpy(logits), path + '.pt')
    logits.tofile(path + '.bin')
    logits.astype(np.float64).tofile(path + '-f64.bin')
    with open(path + '.txt', 'w') as file:
        for index, value in enumerate(logits):
            file.write(f'{index}: {value:.6f}\n')
    np.save(path + '-other', logits)  # a NumPy file by another name
    os.rename(path + '-other.npy', path + '-other.bin')
mse = float(np.mean((L.astype(np.float64) - M) ** 2))
expected['nmse'] = mse / float(np.var(L.astype(np.float64)))


def perplexity_file(path, rows, tokens, context):
    """The format by its description: the rows' log-probabilities, 16 nats deep, in 65,535 steps."""
    chunks = len(tokens) // context
    with open(path, 'wb') as file:
        file.write(b'_logits_' + struct.pack('<iii', context, rows.shape[1], chunks) + np.asarray(tokens, np.int32).tobytes())
        for row in rows.astype(np.float64):
            least = max(row.min(), row.max() - 16)
            base = row.max() + np.log(np.exp(row - row.max()).sum())
            step = (row.max() - least) / 65535
            levels = np.clip(np.rint((row - least) / step), 0, 65535).astype(np.uint16)
            file.write(np.array([step, least - base], np.float32).tobytes() + levels.tobytes() + bytes(2 * (rows.shape[1] % 2)))


def clipped(rows):
    rows = rows.astype(np.float64)
    shifted = np.maximum(rows - rows.max(1, keepdims=True), -16)
    return shifted - np.log(np.exp(rows - rows.max(1, keepdims=True)).sum(1, keepdims=True))


rows = (6 * rng.standard_normal((6, V))).astype(np.float32)
changed = rows + 0.05 * rng.standard_normal((6, V)).astype(np.float32)
tokens = list(range(20, 36))
perplexity_file(os.path.join(out, 'reference.kld'), rows, tokens, 8)
perplexity_file(os.path.join(out, 'tested.kld'), changed, tokens, 8)
p, q = clipped(rows), clipped(changed)
expected['kld'] = {'nmse': float(((p - q) ** 2).mean() / p.var()), 'kl': float((np.exp(p) * (p - q)).sum(1).mean())}
# The first chunk alone, as logits of all its tokens: the constant that each row may have is not in the log-probabilities.
whole = np.concatenate([np.zeros((4, V), np.float32), changed[:3] + np.float32(100), np.zeros((1, V), np.float32)])
np.savez(os.path.join(out, 'chunk.npz'), lm_head=whole, tokens=np.array([1] + tokens[1:8]))
expected['chunk'] = float(((p[:3] - q[:3]) ** 2).mean() / p[:3].var())
print(json.dumps(expected))
