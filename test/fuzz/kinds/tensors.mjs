/**
 * Files of tensors: safetensors, its index, NumPy, PyTorch, GGUF, importance matrices, raw logits, the folder
 * of a llama.cpp port.
 */
import { mutateBytes } from '../mutate-bytes.mjs';
import { mutateJson } from '../mutate-json.mjs';
import { zip } from '../zip.mjs';

/** A safetensors file whose header is mutated as JSON and framed again. */
function safetensors(random, bytes) {
  if (random.oneIn(3)) return mutateBytes(random, bytes, { to: Math.min(bytes.length, 1024) });
  const length = Number(bytes.readBigUInt64LE(0));
  const header = mutateJson(random, bytes.subarray(8, 8 + length));
  const frame = Buffer.alloc(8);
  frame.writeBigUInt64LE(BigInt(header.length));
  return Buffer.concat([frame, header, bytes.subarray(8 + length)]);
}

/** Text of a NumPy header, one word of it changed, framed again. */
function npy(random, bytes) {
  if (random.oneIn(3)) return mutateBytes(random, bytes, { to: Math.min(bytes.length, 160) });
  const wide = bytes[6] > 1;
  const start = wide ? 12 : 10;
  const length = wide ? bytes.readUInt32LE(8) : bytes.readUInt16LE(8);
  let text = bytes.toString('latin1', start, start + length);
  const swaps = [
    [
      /'<f4'/,
      random.pick([
        "'>f4'",
        "'<f8'",
        "'<f2'",
        "'<i8'",
        "'|b1'",
        "'|O'",
        "'<U4'",
        "'<c8'",
        "'|V2'",
        "[('a', '<f4')]",
        "'<f16'",
        "'<u4'",
      ]),
    ],
    [/True|False/, random.pick(['True', 'False', 'None', '1'])],
    [/\(\d+/, `(${random.pick([0, 1, 2, 3, 7, 1e9, '4294967297', '-1', '1.5', "'a'"])}`],
    [/'shape'/, random.pick(["'shap'", "'shape', 'shape'", '"shape"'])],
    [/\}/, random.pick(['', '} }', ", 'extra': 1}", ','.repeat(50)])],
    [/\(/, random.pick(['((', '('.repeat(2000), ''])],
  ];
  const [pattern, replacement] = random.pick(swaps);
  text = text.replace(pattern, replacement);
  const head = Buffer.from(bytes.subarray(0, start));
  if (wide) head.writeUInt32LE(text.length, 8);
  else head.writeUInt16LE(Math.min(text.length, 65535), 8);
  return Buffer.concat([head, Buffer.from(text, 'latin1'), bytes.subarray(start + length)]);
}

/** An archive: its bytes, or a member inside a whole archive. */
function archive(mutateMember) {
  return (random, file, files) => {
    const members = [...files].filter(([name]) => name.startsWith(`${file}/`));
    if (random.oneIn(3)) return mutateBytes(random, files.get(file));
    const struck = random.below(members.length);
    const list = members.map(([name, data], k) => [
      name.slice(file.length + 1),
      k === struck ? mutateMember(random, data) : data,
    ]);
    if (random.oneIn(10)) list.push(random.pick(list));
    return zip(list, { deflate: random.oneIn(2) });
  };
}

const one = (kind, file, mutate, oracle) => ({
  kind,
  seeds: [kind],
  target: file,
  oracle,
  mutate: (random, files) => new Map([[file, mutate(random, files.get(file), files)]]),
});

const npz = archive(npy);
const pytorch = archive((random, bytes) => mutateBytes(random, bytes));

export const TENSOR_KINDS = [
  one('safetensors', 'values.safetensors', safetensors, 'safetensors'),
  {
    kind: 'index',
    seeds: ['index'],
    target: '.',
    oracle: 'index',
    mutate: (random, files) =>
      new Map([
        ['model.safetensors.index.json', mutateJson(random, files.get('model.safetensors.index.json'))],
      ]),
  },
  { ...one('npy', 'value.npy', npy, 'npy'), target: '.' },
  one('npz', 'values.npz', (random, _, files) => npz(random, 'values.npz', files), 'npz'),
  {
    ...one(
      'pytorch',
      'pytorch_model.bin',
      (random, _, files) => pytorch(random, 'pytorch_model.bin', files),
      'pytorch',
    ),
    lenient: [
      [
        /invalid literal for int|parse the version|hasRecord\("version"\)|PyTorch file with version|reading file \.?(version|format_version|storage_alignment|data\/serialization_id)|can't decode byte/,
        'members that hold no tensor (versions, the alignment, the id of the writing) are not needed to read those that do',
      ],
      [
        /Unsupported operand (140|147|148|149)\b/,
        'protocol 4, which torch.load reads unless it is asked for weights only',
      ],
      [/not in a subdirectory/, 'fields of the archive that say nothing of its members'],
    ],
  },
  one(
    'gguf',
    'model.gguf',
    (random, bytes) => mutateBytes(random, bytes, { to: Math.min(bytes.length, 6000) }),
    'gguf',
  ),
  one('imatrix', 'imatrix.dat', (random, bytes) => mutateBytes(random, bytes), 'imatrix'),
  one('logits', 'logits.txt', (random, bytes) => mutateBytes(random, bytes)),
  {
    kind: 'port',
    seeds: ['port'],
    target: '.',
    mutate(random, files) {
      if (random.oneIn(6)) return new Map([['tensors.bin', mutateBytes(random, files.get('tensors.bin'))]]);
      const lines = files.get('index.jsonl').toString('utf8').split('\n');
      const at = random.below(lines.length - 1);
      if (random.oneIn(5)) lines.splice(at, 1 + random.below(3));
      else if (random.oneIn(8)) lines.splice(at, 0, lines[random.below(lines.length)]);
      else lines[at] = mutateJson(random, Buffer.from(lines[at])).toString('utf8');
      return new Map([['index.jsonl', Buffer.from(lines.join('\n'))]]);
    },
  },
];
