/** Faults planted into runs of libllama: values written into a run, fields and weights changed in a file. */
import { execFileSync } from 'node:child_process';
import { copyFileSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { GraphTensor } from '../../src/dump/graph-file.js';
import { Dump, recordGguf } from '../../src/index.js';
import type { RecordOptions } from '../../src/recording/record/record.js';
import { inGgmlOrder } from '../../src/recording/record/tap-plan.js';
import { pythonPath } from '../reference/python.js';
import { PROMPT } from './models.js';

/** A value changed in a run: its element type's array and its sizes, the token axis first. */
type Change = (values: Float32Array | Int32Array, shape: readonly number[]) => void;

/** A fault, and the node that has it. */
export interface PlantedFault {
  name: string;
  architecture: string;
  /** The tap that is to be named first; null where an unaltered run is judged. */
  at: string;
  /** Values written into the run: those of `at`, or as many of `from`. */
  change?: (values: Float32Array | Int32Array, shape: readonly number[], source?: Float32Array) => void;
  /** A value that has the elements of `at` in another order, or is what it is computed from. */
  from?: string;
  /** The file changed, by gguf-py: `fields` and `tensors` are those of a reader that writes in place. */
  edit?: string;
  /** The recorded graph changed to what makes the values of `change`, as another build would have it. */
  graph?: (tensors: GraphTensor[]) => void;
  /** Other options of the run. */
  options?: Partial<RecordOptions>;
  /** What the verdict says of it. */
  says: RegExp;
}

const each =
  (change: (value: number, k: number) => number): Change =>
  (values) => {
    for (let k = 0; k < values.length; k++) values[k] = change(values[k]!, k);
  };

const toBf16: Change = (values) => {
  const bits = new Uint32Array(values.buffer, values.byteOffset, values.length);
  for (let k = 0; k < bits.length; k++)
    bits[k] = ((bits[k]! + 0x7fff + ((bits[k]! >>> 16) & 1)) & 0xffff0000) >>> 0;
};

/** One of an index or key/value type; named as libllama names it. */
export const FAULTS: readonly PlantedFault[] = [
  {
    name: 'a norm rounded through BF16',
    architecture: 'llama',
    at: 'ffn_norm-1',
    change: toBf16,
    says: /rounded through BF16/,
  },
  {
    name: 'a product 1 % too large',
    architecture: 'llama',
    at: 'ffn_out-2',
    change: each((x) => Math.fround(1.01 * x)),
    says: /1\.01 times what it should be/,
  },
  {
    name: 'a sign turned',
    architecture: 'gemma3',
    at: 'attn_norm-0',
    change: each((x) => -x),
    says: /-1 times what it should be/,
  },
  {
    name: 'rows a position late',
    architecture: 'llama',
    at: 'attn_norm-3',
    change: (values, [rows, columns]) => {
      for (let row = rows! - 1; row > 0; row--)
        for (let k = 0; k < columns!; k++) values[row * columns! + k] = values[(row - 1) * columns! + k]!;
    },
    says: /the row before in its place/,
  },
  {
    name: 'a channel left out',
    architecture: 'mamba2',
    at: 'attn_norm-1',
    change: (values, [rows, columns]) => {
      for (let row = 0; row < rows!; row++) values[row * columns! + 17] = 0;
    },
    says: /only channel 17 of 256/,
  },
  {
    name: 'one token wrong',
    architecture: 'qwen3moe',
    at: 'ffn_norm-2',
    change: (values, [, columns]) => {
      for (let k = 0; k < columns!; k++) values[5 * columns! + k] = values[5 * columns! + k]! + 0.01;
    },
    says: /only token 5 of 24/,
  },
  {
    name: 'a NaN',
    architecture: 'llama',
    at: 'ffn_norm-1',
    change: (values) => {
      values[300] = Number.NaN;
    },
    says: /NaN or infinite where its inputs give numbers: 1 of 6144/,
  },
  {
    name: 'another expert',
    architecture: 'qwen3moe',
    at: 'ffn_moe_argsort-1',
    change: (values, [, columns]) => {
      const row = 3 * columns!;
      [values[row], values[row + 7]] = [values[row + 7]!, values[row]!];
    },
    says: /other indices than its inputs give, only channel 0, 7 of 8, token 3 of 24/,
  },
  {
    name: 'expert weights that do not sum to one',
    architecture: 'qwen3moe',
    at: 'ffn_moe_weights_norm-0',
    change: each((x) => 0.5 * x),
    says: /0\.5 times what it should be/,
  },
  {
    name: 'a state space state a little decayed',
    architecture: 'mamba2',
    at: 'attn_norm-2',
    change: each((x, k) => (k % 256 < 8 ? Math.fround(0.999 * x) : x)),
    says: /own error/,
  },
  {
    name: 'epsilon of the norms',
    architecture: 'llama',
    at: 'norm-0',
    edit: "set_field('llama.attention.layer_norm_rms_epsilon', 1e-3)",
    says: /epsilon 0\.001 instead of 0\.00001: with it the error is 0/,
  },
  {
    name: 'frequency base of RoPE',
    architecture: 'llama',
    at: 'Qcur-0#2',
    edit: "set_field('llama.rope.freq_base', 20000.0)",
    says: /frequency base 20000 instead of 10000/,
  },
  {
    name: 'scale of the embedding',
    architecture: 'granitehybrid',
    at: 'embd',
    edit: "set_field('granitehybrid.embedding_scale', 3.0)",
    says: /not in the reference's graph/,
  },
  {
    name: 'a row of a weight',
    architecture: 'llama',
    at: 'ffn_gate-1',
    edit: "tensor('blk.1.ffn_gate.weight')[40] *= 1.05",
    says: /only channel 40 of 256/,
  },
  {
    name: 'a row of the embedding',
    architecture: 'llama',
    at: 'embd',
    edit: "tensor('token_embd.weight')[PROMPT[4]] *= 1.05",
    says: /only token 4 of 24/,
  },
  {
    name: 'weights of two blocks swapped',
    architecture: 'llama',
    at: 'ffn_norm-1',
    edit: "swap('blk.1.ffn_norm.weight', 'blk.2.ffn_norm.weight')",
    says: /own error/,
  },
  {
    name: 'keys cached in BF16',
    architecture: 'llama',
    at: 'cache_k_l0 (view)',
    options: { keyType: 'BF16' },
    says: /stored in BF16 instead of F16/,
  },
  {
    name: 'heads not turned back before they are joined',
    architecture: 'llama',
    at: 'kqv_out-1',
    // kqv is [dims, tokens, heads]; joined as if it were [dims, heads, tokens].
    from: 'kqv-1',
    change: () => {},
    graph: (tensors) => {
      const view = tensors.find(({ name }) => name === 'kqv-1 (permuted)')!;
      const [item, row] = view.nb;
      const stride = item * view.ne[0];
      Object.assign(view, { nb: [item, stride, stride * view.ne[1], stride * view.ne[1] * view.ne[2]] });
      if (row === stride) throw new Error('expected other strides');
    },
    says: /strides 4, 512, 1024, 24576 instead of 4, 12288, 512, 24576: with it the error is 0/,
  },
  {
    name: 'a gate read for the other half',
    architecture: 'lfm2',
    at: 'node_57',
    // b and x are the first and the last third of in_proj: here b is multiplied with the middle third, c.
    from: 'model.layers.{}.conv.in_proj-1',
    change: (values, [rows, columns], source) => {
      for (let row = 0; row < rows!; row++)
        for (let k = 0; k < columns!; k++) {
          const at = 3 * columns! * row + k;
          values[columns! * row + k] = Math.fround(source![at]! * source![at + columns!]!);
        }
    },
    graph: (tensors) => {
      const node = tensors.find(({ name }) => name === 'node_57')!;
      const views = node.src.map((id) => tensors[id!]!);
      const last = views.find(({ viewOffs }) => viewOffs === 8 * node.ne[0])!;
      Object.assign(last, { viewOffs: 4 * node.ne[0] });
    },
    says: /a view from byte 1024 instead of 2048/,
  },
  {
    // libllama turns values by a matrix before it quantises them: a product that the reference does not have.
    name: 'values cached in Q8_0',
    architecture: 'qwen3moe',
    at: 'node_11',
    options: { valueType: 'Q8_0', flashAttention: true },
    says: /settings differ: valueType Q8_0 \(reference F16\)[\s\S]*not in the reference's graph/,
  },
];

const EDIT = `
import sys
import numpy as np
from gguf import GGUFReader
model, code = sys.argv[1:]
PROMPT = [(k * 7 + 3) % 250 for k in range(24)]
reader = GGUFReader(model, 'r+')
def set_field(name, value):
    field = reader.fields[name]
    field.parts[field.data[0]][0] = value
def tensor(name):
    return next(t.data for t in reader.tensors if t.name == name)
def swap(a, b):
    a, b = tensor(a), tensor(b)
    a[:], b[:] = b.copy(), a.copy()
exec(code)
`;

/** The runs of a fault: the one to judge, and what it is judged by. */
export interface PlantedRun {
  recording: string;
  reference?: string;
  model: string;
}

/** Plants a fault. @param plain a recording of the unaltered model. */
export async function plant(
  fault: PlantedFault,
  model: string,
  plain: string,
  folder: string,
): Promise<PlantedRun> {
  const recording = join(folder, fault.name.replaceAll(' ', '-'));
  const run = { tokens: PROMPT, generate: 1, threads: 1, overwrite: true, out: recording, ...fault.options };
  if (fault.change !== undefined) {
    const file = `${recording}.npy`;
    await using dump = await Dump.open(plain);
    const { data, shape } = await dump.read(fault.at, { step: 0 });
    const source = fault.from === undefined ? undefined : await inGgmlOrderOf(dump, fault.from);
    const values =
      source?.length === data.length ? source.slice() : (data as Float32Array | Int32Array).slice();
    fault.change(values, shape, source);
    writeFileSync(file, npy(values, shape));
    await recordGguf({ ...run, model, set: [{ tap: fault.at, file }] });
    if (fault.graph === undefined) return { recording, model };
    const path = join(recording, 'graph.json');
    const graph = JSON.parse(readFileSync(path, 'utf8')) as { tensors: GraphTensor[] };
    fault.graph(graph.tensors);
    writeFileSync(path, JSON.stringify(graph));
    return { recording, reference: plain, model };
  }
  if (fault.edit !== undefined) {
    const edited = join(folder, 'edited.gguf');
    copyFileSync(model, edited);
    execFileSync(pythonPath(), ['-c', EDIT, edited, fault.edit]);
    await recordGguf({ ...run, model: edited });
  } else await recordGguf({ ...run, model });
  return { recording, reference: plain, model };
}

/** Of the first step, as it lies in memory. */
async function inGgmlOrderOf(dump: Dump, tap: string): Promise<Float32Array> {
  const { tensors } = JSON.parse(readFileSync(join(dump.dir, 'graph.json'), 'utf8')) as {
    tensors: GraphTensor[];
  };
  const { ne, axes = [3, 2, 1, 0] } = tensors.find((tensor) => tensor.tap === tap)!;
  const { data } = await dump.read(tap, { step: 0 });
  const bytes = new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
  return new Float32Array(inGgmlOrder(bytes, ne, axes, 4).slice().buffer);
}

/** NumPy's file of an array. */
export function npy(values: Float32Array | Int32Array | Uint16Array, shape: readonly number[]): Buffer {
  // 16 bits are an F16's.
  const dtype = values instanceof Float32Array ? '<f4' : values instanceof Uint16Array ? '<f2' : '<i4';
  const sizes = shape.length === 1 ? `${shape[0]},` : shape.join(', ');
  const text = `{'descr': '${dtype}', 'fortran_order': False, 'shape': (${sizes}), }`;
  const header = `${text.padEnd(117)}\n`;
  return Buffer.concat([
    Buffer.from([0x93, ...Buffer.from('NUMPY'), 1, 0, header.length, 0]),
    Buffer.from(header, 'latin1'),
    Buffer.from(values.buffer, values.byteOffset, values.byteLength),
  ]);
}
