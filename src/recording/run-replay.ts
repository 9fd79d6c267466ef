/** Replays a recording, node by node, in the order in which it ran. Meant for a child process. */
import { type Dtype, ggmlType, ggmlTypeName, INTERMEDIATE_TYPES } from '../dtype.js';
import { blockElements, dtypeKind, type TapDtype, tapBlockBytes } from '../dump/dtypes.js';
import { type GraphTensor, readGraph } from '../dump/graph-file.js';
import { Dump } from '../dump/reader.js';
import { ZayascopeError } from '../errors.js';
import { openBackend } from '../graph/backend.js';
import { openGgufFile } from '../models/layout/source.js';
import { type NativeReplayTensor, native } from '../native.js';
import { weightsSha256 } from '../weights/identity.js';
import type { Four } from './recorded-graph.js';
import type { RecordingReplay, ReplayedNode, ReplayRun } from './replay.js';
import { lacking, ReplayValues } from './replay-values.js';
import { widenToFloat64 } from './widen.js';

/** Ops that compute nothing. */
const VIEWS: ReadonlySet<string> = new Set(['NONE', 'VIEW', 'RESHAPE', 'PERMUTE', 'TRANSPOSE']);
/** Where the mask stays as it is: ggml takes no other. */
const KEPT_SOURCE: Readonly<Record<string, number>> = { FLASH_ATTN_EXT: 3 };

/** Nodes that compute something: no views, and not those without elements. */
function computes({ op, ne, src }: GraphTensor, tensors: readonly GraphTensor[]): boolean {
  const written = op === 'SET_ROWS' && src[0] != null ? tensors[src[0]]!.ne : ne;
  return !VIEWS.has(op) && !written.includes(0);
}

/** A node ready to run: memory, and the tensors in it. */
interface Prepared {
  roots: Uint8Array[];
  tensors: NativeReplayTensor[];
  src: (number | null)[];
}

export async function runReplay(
  run: ReplayRun,
  onProgress: (done: number, total: number) => void,
  onNode: (at: string) => void,
): Promise<RecordingReplay> {
  await using dump = await Dump.open(run.recording);
  if (dump.manifest.graph === undefined)
    throw new ZayascopeError(
      'BAD_DUMP',
      `replay: expected a recording, which has a graph, got a dump without one (${run.recording})`,
      { op: 'replay' },
    );
  const graph = await readGraph(run.recording, new Set(dump.taps.map(({ name }) => name)));
  const recordedThreads = dump.manifest.backend.threads;
  const threads = run.threads ?? (typeof recordedThreads === 'number' ? recordedThreads : undefined);
  using backend = openBackend(run.backend, threads === undefined ? {} : { threads });
  const { stored } = await openGgufFile(run.model);
  const [own, ran] = [await weightsSha256(stored), dump.manifest.model.weightsSha256];
  if (ran !== undefined && own !== ran)
    throw new ZayascopeError(
      'UNPAIRED',
      `replay: expected the model that ran, ${dump.manifest.model.name} with weights ${ran.slice(0, 12)}, got weights ${own.slice(0, 12)} (${run.model})`,
      { op: 'replay' },
    );
  const values = new ReplayValues(dump, graph, stored);
  const blocks = new Map(dump.taps.map(({ name, block }) => [name, block]));
  const total = graph.graphs.reduce(
    (sum, { nodes }) => sum + nodes.filter((id) => computes(graph.tensors[id]!, graph.tensors)).length,
    0,
  );
  const nodes: ReplayedNode[] = [];
  for (const { step, nodes: ids } of graph.graphs) {
    values.begin(ids);
    for (const id of ids) {
      const node = graph.tensors[id]!;
      if (computes(node, graph.tensors)) {
        onNode(`${node.op} ${node.name} (node ${id})`);
        nodes.push({
          id,
          step,
          op: node.op,
          name: node.tap ?? node.name,
          block: node.tap === undefined ? null : (blocks.get(node.tap) ?? null),
          ...(await replayOne(node, step, run, values, graph.tensors, (prepared) =>
            compute(backend.native, node, prepared),
          )),
        });
        if (nodes.length % 64 === 0 || nodes.length === total) onProgress(nodes.length, total);
      }
      values.end(node);
    }
  }
  return { nodes, device: backend.device.description, threads };
}

type Outcome = Pick<ReplayedNode, 'isSame' | 'nmse' | 'ownError' | 'widened' | 'problem'>;

async function replayOne(
  node: GraphTensor,
  step: number,
  { modes }: ReplayRun,
  values: ReplayValues,
  tensors: readonly GraphTensor[],
  run: (prepared: Prepared) => void,
): Promise<Outcome> {
  const written = writtenBy(node, tensors);
  const recorded = await values.recorded(node, written.ne, step);
  const prepared = await prepare(node, step, values, tensors);
  const before = prepared.roots[0]!.slice();
  const outcome: Outcome = {};
  try {
    if (modes.includes('same')) {
      run(prepared);
      const again = await written.read(
        prepared.roots[0]!,
        prepared.tensors[0]!,
        node.type as TapDtype,
        step,
        values,
      );
      outcome.isSame = Buffer.from(again.buffer, again.byteOffset, again.byteLength).equals(recorded);
      if (!outcome.isSame) outcome.nmse = await nmseOf(recorded, again, node.type as TapDtype, written.ne);
    }
    if (modes.includes('widened'))
      Object.assign(outcome, await ownError(node, step, prepared, before, recorded, written, values, run));
  } catch (error) {
    if (!(error instanceof ZayascopeError) || error.code !== 'BACKEND') throw error;
    outcome.problem = error.message;
  }
  // Later nodes read what was recorded, whatever the replay gave.
  const memory = await values.memory(node, step);
  memory.set(before);
  await written.write(memory, prepared.tensors[0]!, recorded, step, values);
  return outcome;
}

/** Own memory for the result first, then one for each source that does not lie in it. */
async function prepare(
  node: GraphTensor,
  step: number,
  values: ReplayValues,
  tensors: readonly GraphTensor[],
): Promise<Prepared> {
  const owner = values.owner(node);
  const target = owner.id === node.id ? values.blank(node) : await values.memory(owner, step);
  const targetEnd = (node.viewOffs ?? 0) + spanOf(node);
  if (targetEnd > target.byteLength)
    throw lacking(`memory of ${targetEnd} bytes`, node, `${target.byteLength}`);
  // A copy: the memory itself takes what was recorded.
  const roots: Uint8Array[] = [target.slice()];
  const all: NativeReplayTensor[] = [inMemory(node, 0, node.viewOffs ?? 0)];
  const src: (number | null)[] = [];
  for (const id of node.src) {
    const source = id === null ? undefined : tensors[id]!;
    if (source === undefined) {
      src.push(null);
      continue;
    }
    const offset = source.viewSrc == null ? 0 : (source.viewOffs ?? 0);
    src.push(all.length);
    if (values.owner(source).id === owner.id) all.push(inMemory(source, 0, offset));
    else {
      const memory = await values.memory(source, step);
      const end = offset + spanOf(source);
      if (end > memory.byteLength) throw lacking(`memory of ${end} bytes`, source, `${memory.byteLength}`);
      all.push(inMemory(source, roots.length, 0));
      roots.push(memory.subarray(offset, end));
    }
  }
  return { roots, tensors: all, src };
}

function inMemory({ type, ne, nb }: GraphTensor, root: number, offset: number): NativeReplayTensor {
  return { root, offset, type: typeNumber(type), ne, nb };
}

function typeNumber(type: string): number {
  const intermediate = INTERMEDIATE_TYPES[type as keyof typeof INTERMEDIATE_TYPES];
  return intermediate?.type ?? ggmlType(type as Dtype);
}

/** Bytes from a tensor's first to its last. */
function spanOf({ type, ne, nb }: Pick<GraphTensor, 'type' | 'ne' | 'nb'>): number {
  if (ne.includes(0)) return 0;
  const dtype = type as TapDtype;
  const steps = [ne[0] / blockElements(dtype) - 1, ne[1] - 1, ne[2] - 1, ne[3] - 1];
  return steps.reduce((sum, count, k) => sum + count * nb[k]!, tapBlockBytes(dtype));
}

function compute(
  backend: Parameters<ReturnType<typeof native>['replayNode']>[0],
  node: GraphTensor,
  prepared: Prepared,
): void {
  native().replayNode(backend, prepared.roots, prepared.tensors, {
    tensor: 0,
    op: node.op,
    params: Uint8Array.from(Buffer.from(node.params, 'hex')),
    flags: node.flags,
    src: prepared.src,
  });
}

/** Which elements a node writes, in the memory that its result lies in. */
interface Written {
  ne: Four;
  read(
    memory: Uint8Array,
    at: NativeReplayTensor,
    type: TapDtype,
    step: number,
    values: ReplayValues,
  ): Promise<Uint8Array>;
  write(
    memory: Uint8Array,
    at: NativeReplayTensor,
    bytes: Uint8Array,
    step: number,
    values: ReplayValues,
  ): Promise<void>;
}

function writtenBy(node: GraphTensor, tensors: readonly GraphTensor[]): Written {
  const from = node.op === 'SET_ROWS' ? tensors[node.src[0]!]! : undefined;
  const rowBytes = (type: TapDtype, ne0: number) => (ne0 / blockElements(type)) * tapBlockBytes(type);
  const starts = async (at: NativeReplayTensor, step: number, values: ReplayValues): Promise<number[]> => {
    const { nb } = at;
    const out: number[] = [];
    if (from === undefined) {
      for (let l = 0; l < node.ne[3]; l++)
        for (let k = 0; k < node.ne[2]; k++)
          for (let j = 0; j < node.ne[1]; j++) out.push(at.offset + l * nb[3]! + k * nb[2]! + j * nb[1]!);
      return out;
    }
    const index = tensors[node.src[1]!]!;
    const rows = await rowNumbers(index, step, values);
    for (let l = 0; l < from.ne[3]; l++)
      for (let k = 0; k < from.ne[2]; k++)
        for (let j = 0; j < from.ne[1]; j++) {
          const row = rows[((l % index.ne[2]) * index.ne[1] + (k % index.ne[1])) * index.ne[0] + j]!;
          if (!(row >= 0 && row < node.ne[1])) throw lacking(`rows below ${node.ne[1]}`, node, String(row));
          out.push(at.offset + l * nb[3]! + k * nb[2]! + row * nb[1]!);
        }
    return out;
  };
  const ne = from?.ne ?? node.ne;
  const visit = async (
    at: NativeReplayTensor,
    type: TapDtype,
    step: number,
    values: ReplayValues,
    each: (inMemory: number, packed: number, size: number) => void,
  ): Promise<void> => {
    const item = tapBlockBytes(type);
    const size = rowBytes(type, ne[0]);
    let packed = 0;
    for (const start of await starts(at, step, values)) {
      if (at.nb[0] === item) each(start, packed, size);
      else for (let i = 0; i < size / item; i++) each(start + i * at.nb[0]!, packed + i * item, item);
      packed += size;
    }
  };
  return {
    ne,
    async read(memory, at, type, step, values) {
      const out = new Uint8Array(rowBytes(type, ne[0]) * ne[1] * ne[2] * ne[3]);
      await visit(at, type, step, values, (place, packed, size) =>
        out.set(memory.subarray(place, place + size), packed),
      );
      return out;
    },
    async write(memory, at, bytes, step, values) {
      await visit(at, node.type as TapDtype, step, values, (place, packed, size) =>
        memory.set(bytes.subarray(packed, packed + size), place),
      );
    },
  };
}

async function rowNumbers(index: GraphTensor, step: number, values: ReplayValues): Promise<number[]> {
  const memory = await values.memory(index, step);
  const view = new DataView(memory.buffer, memory.byteOffset, memory.byteLength);
  const offset = index.viewOffs ?? 0;
  const count = index.ne[0] * index.ne[1] * index.ne[2];
  const size = tapBlockBytes(index.type as TapDtype);
  if (offset + count * size > memory.byteLength)
    throw lacking('row numbers', index, `${memory.byteLength} bytes`);
  return Array.from({ length: count }, (_, k) =>
    size === 8 ? Number(view.getBigInt64(offset + 8 * k, true)) : view.getInt32(offset + 4 * k, true),
  );
}

function isLow(type: string): boolean {
  return type === 'F16' || type === 'BF16' || dtypeKind(type as TapDtype) === 'quantised';
}

/**
 * The replay with every low-precision operand in F32, and the result too where it is stored in fewer bits.
 */
async function ownError(
  node: GraphTensor,
  step: number,
  prepared: Prepared,
  before: Uint8Array,
  recorded: Uint8Array,
  written: Written,
  values: ReplayValues,
  run: (prepared: Prepared) => void,
): Promise<Pick<ReplayedNode, 'ownError' | 'widened'>> {
  const widened: string[] = [];
  const roots: Uint8Array[] = [before.slice(), ...prepared.roots.slice(1)];
  const tensors = [...prepared.tensors];
  const targetIsLow = isLow(node.type);
  for (const [k, place] of prepared.src.entries()) {
    if (place === null || KEPT_SOURCE[node.op] === k) continue;
    const source = prepared.tensors[place]!;
    const type = nameOfType(source.type);
    if (!isLow(type)) continue;
    // The destination of a copy is no operand.
    if (source.root === 0 && targetIsLow) continue;
    tensors[place] = await wide(
      source,
      type,
      source.root === 0 ? before : prepared.roots[source.root]!,
      roots,
    );
    widened.push(type);
  }
  if (targetIsLow) {
    const target = prepared.tensors[0]!;
    tensors[0] = await wide(target, node.type, undefined, roots);
    // Sources in the same memory (the cache that a row is written into) go with it.
    for (const place of prepared.src)
      if (place !== null && place !== 0 && prepared.tensors[place]!.root === 0)
        tensors[place] = {
          ...tensors[0],
          ne: prepared.tensors[place]!.ne,
          nb: strides(prepared.tensors[place]!.ne),
        };
    widened.push(node.type);
  }
  if (widened.length === 0) return { ownError: 0 };
  run({ roots, tensors, src: prepared.src });
  const type: TapDtype = targetIsLow ? 'F32' : (node.type as TapDtype);
  const wideValue = await written.read(roots[tensors[0]!.root]!, tensors[0]!, type, step, values);
  const reference = await widenToFloat64(wideValue, type, written.ne[0]);
  const own = await widenToFloat64(recorded, node.type as TapDtype, written.ne[0]);
  return { ownError: nmse(reference, own), widened: [...new Set(widened)] };
}

/** A tensor's values in F32, without gaps, in memory of their own; without `memory`, zeros. */
async function wide(
  tensor: NativeReplayTensor,
  type: string,
  memory: Uint8Array | undefined,
  roots: Uint8Array[],
): Promise<NativeReplayTensor> {
  const { ne } = tensor;
  const out = new Float32Array(ne.reduce((product, size) => product * size, 1));
  if (memory !== undefined)
    out.set(await widenToFloat64(packedOf(tensor, type as TapDtype, memory), type as TapDtype, ne[0]!));
  roots.push(new Uint8Array(out.buffer));
  return { root: roots.length - 1, offset: 0, type: ggmlType('F32'), ne, nb: strides(ne) };
}

function strides(ne: readonly number[]): Four {
  return [4, 4 * ne[0]!, 4 * ne[0]! * ne[1]!, 4 * ne[0]! * ne[1]! * ne[2]!];
}

function packedOf({ ne, nb, offset }: NativeReplayTensor, type: TapDtype, memory: Uint8Array): Uint8Array {
  const item = tapBlockBytes(type);
  const row = (ne[0]! / blockElements(type)) * item;
  const out = new Uint8Array(row * ne[1]! * ne[2]! * ne[3]!);
  let place = 0;
  for (let l = 0; l < ne[3]!; l++)
    for (let k = 0; k < ne[2]!; k++)
      for (let j = 0; j < ne[1]!; j++, place += row) {
        const from = offset + l * nb[3]! + k * nb[2]! + j * nb[1]!;
        if (nb[0] === item) out.set(memory.subarray(from, from + row), place);
        else
          for (let i = 0; i < row / item; i++)
            out.set(memory.subarray(from + i * nb[0]!, from + i * nb[0]! + item), place + i * item);
      }
  return out;
}

function nameOfType(type: number): string {
  return ggmlTypeName(type).split(' ')[0]!;
}

async function nmseOf(reference: Uint8Array, tested: Uint8Array, type: TapDtype, ne: Four): Promise<number> {
  return nmse(await widenToFloat64(reference, type, ne[0]), await widenToFloat64(tested, type, ne[0]));
}

/** Energy NMSE; places where both are the same infinity or NaN count nothing, any other is infinite. */
function nmse(reference: ArrayLike<number>, tested: ArrayLike<number>): number {
  let error = 0;
  let energy = 0;
  for (let k = 0; k < reference.length; k++) {
    const [a, b] = [reference[k]!, tested[k]!];
    if (Object.is(a, b)) {
      if (Number.isFinite(a)) energy += a * a;
      continue;
    }
    if (!Number.isFinite(a) || !Number.isFinite(b)) return Number.POSITIVE_INFINITY;
    error += (a - b) ** 2;
    energy += a * a;
  }
  return error === 0 ? 0 : error / energy;
}
