"""Files that NumPy, zipfile or torch refuse or not, of one kind of damage each. make_damaged.py OUT prints [name, is read]."""
import io, json, os, pickle, struct, sys, zipfile
import numpy as np, torch

out = sys.argv[1]
A = np.arange(10, dtype=np.float32).reshape(2, 5)
verdicts = []


def judged(name, load):
    try:
        load(os.path.join(out, name))
        verdicts.append([name, True])
    except Exception:
        verdicts.append([name, False])


HEADERS = {
    'plain': "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 5), }",
    'zero-in-front': "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 05), }",
    'list': "{'descr': '<f4', 'fortran_order': False, 'shape': [2, 5], }",
    'one-more-key': "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 5), 'extra': 1}",
    'bytes': "{b'descr': '<f4', 'fortran_order': False, 'shape': (2, 5), }",
    'unicode': "{u'descr': u'<f4', u'fortran_order': False, u'shape': (2, 5), }",
    'long-truth': "{'descr': '<f4', 'fortran_order': FalseL, 'shape': (2, 5), }",
    'word': "{'descr': '<f4', 'fortran_order': Falsey, 'shape': (2, 5), }",
    'line-in-text': "{'descr': '<f4\r', 'fortran_order': False, 'shape': (2, 5), }",
    'fraction': "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 5.0), }",
    'negative': "{'descr': '<f4', 'fortran_order': False, 'shape': (-2, -5), }",
    'huge': "{'descr': '<f4', 'fortran_order': False, 'shape': (4611686018427387904,), }",
    'key-twice': "{'descr': '<f4', 'fortran_order': False, 'shape': (5, 2), 'shape': (2, 5), }",
}
for name, header in HEADERS.items():
    with open(os.path.join(out, f'{name}.npy'), 'wb') as file:
        file.write(b'\x93NUMPY\x01\x00' + struct.pack('<H', len(header) + 1) + header.encode() + b'\n' + A.tobytes())
    judged(f'{name}.npy', np.load)
for version in ((1, 1), (2, 0), (3, 7)):
    name, header = 'version-%d-%d.npy' % version, HEADERS['plain']
    with open(os.path.join(out, name), 'wb') as file:
        file.write(b'\x93NUMPY' + bytes(version) + struct.pack('<H' if version[0] == 1 else '<I', len(header) + 1))
        file.write(header.encode() + b'\n' + A.tobytes())
    judged(name, np.load)

np.savez(os.path.join(out, 'plain.npz'), a=A)
whole = open(os.path.join(out, 'plain.npz'), 'rb').read()
entry = whole.index(b'PK\x01\x02')
for name, at, value in (('new-version', 6, 64), ('known-version', 6, 63), ('patched', 8, 0x20), ('strong', 8, 0x40)):
    damaged = bytearray(whole)
    damaged[entry + at] = value
    open(os.path.join(out, f'{name}.npz'), 'wb').write(damaged)
    judged(f'{name}.npz', lambda path: dict(np.load(path)))


def archive(name, data, storage=A.tobytes()):
    with zipfile.ZipFile(os.path.join(out, name), 'w') as file:
        for member, content in (('data.pkl', data), ('byteorder', b'little'), ('data/0', storage), ('version', b'3\n')):
            file.writestr(f'archive/{member}', content)
    judged(name, lambda path: torch.load(path, weights_only=True).items())


# Opcodes by hand: a dictionary of one tensor.
STORAGE = b"(X\x07\0\0\0storagectorch\nFloatStorage\nX\x01\0\0\x000X\x03\0\0\0cpuK\x0atQ"
SIZES = b'K\0K\x02K\x05\x86K\x05K\x01\x86'
REBUILD = b'ctorch._utils\n_rebuild_tensor_v2\n('
HOOKS = b'ccollections\nOrderedDict\n)R'


def one(value):
    return b'\x80\x02}X\x01\0\0\0a' + value + b's.'


archive('tensor.pt', one(REBUILD + STORAGE + SIZES + b'\x89' + HOOKS + b'tR'))
archive('metadata.pt', one(REBUILD + STORAGE + SIZES + b'\x89' + HOOKS + b'}X\x03\0\0\0neg\x88stR'))
archive('gradient-none.pt', one(REBUILD + STORAGE + SIZES + b'N' + HOOKS + b'tR'))
archive('arguments-more.pt', one(REBUILD + STORAGE + SIZES + b'\x89' + HOOKS + b'NNtR'))
archive('arguments-fewer.pt', one(REBUILD + STORAGE + SIZES + b'tR'))
archive('storage-more.pt', one(REBUILD + STORAGE[:-2] + b'NNtQ' + SIZES + b'\x89' + HOOKS + b'tR'))
whole = open(os.path.join(out, 'tensor.pt'), 'rb').read()
entry, end = whole.index(b'PK\x01\x02'), whole.rindex(b'PK\x05\x06')
for name, at, value in (('member-disk', entry + 34, 2), ('disk', end + 4, 2), ('directory-disk', end + 6, 2), ('fewer-here', end + 8, 1)):
    damaged = bytearray(whole)
    damaged[at] = value
    open(os.path.join(out, f'{name}.pt'), 'wb').write(damaged)
    judged(f'{name}.pt', lambda path: torch.load(path, weights_only=True).items())
damaged = bytearray(whole)
damaged[whole.index(b'PK\x01\x02', whole.index(b'archive/data/0', entry) - 60) + 38] = 0x10
open(os.path.join(out, 'folder.pt'), 'wb').write(damaged)
archive('list-opcode.pt', one(b'(l'))
archive('pop-opcode.pt', one(b'N0' + REBUILD + STORAGE + SIZES + b'\x89' + HOOKS + b'tR'))
archive('text.pt', b'\x80\x02X\x01\0\0\0a.')
print(json.dumps(verdicts))
