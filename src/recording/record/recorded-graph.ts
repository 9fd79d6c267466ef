/** The graphs of a run as libllama built them, collected from the addon's descriptions. */
import { ggmlTypeName } from '../../dtype.js';
import type { TapDtype } from '../../dump/dtypes.js';
import { TAP_DTYPES } from '../../dump/dtypes.js';
import { unmet, type ZayascopeError } from '../../errors.js';
import type { NativeRecorded } from '../../native-llama.js';
import type { RowInputs } from './graph-rows.js';

/** Four sizes or strides, fastest axis first. */
export type Four = readonly [number, number, number, number];

/** A tensor of a recorded run. */
export interface RecordedTensor {
  id: number;
  kind: 'node' | 'view' | 'weight' | 'input' | 'state';
  name: string;
  op: string;
  type: TapDtype;
  ne: Four;
  nb: Four;
  params: string;
  flags: number;
  src: readonly (number | null)[];
  viewSrc?: number;
  viewOffs?: number;
  /** Name of its memory; empty for none. */
  buffer: string;
  /** A state that holds zeros when the run begins. */
  isZero: boolean;
}

/** One graph: its nodes and views in the order in which they run, and the leaves that it meets first. */
export interface RecordedGraph {
  nodes: number[];
  leaves: number[];
}

/** Collects descriptions, in the order in which they come. */
export class GraphCollector {
  readonly tensors: RecordedTensor[] = [];
  readonly graphs: RecordedGraph[] = [];
  /** Token ids and positions that each graph was given. */
  readonly rowInputs: RowInputs[] = [];

  add(recorded: NativeRecorded): RecordedTensor {
    const { kind, id, graph } = recorded;
    if (kind === undefined || id !== this.tensors.length)
      throw unexpected(`tensor ${this.tensors.length}`, `tensor ${id}`);
    const tensor: RecordedTensor = {
      id,
      kind,
      name: recorded.name!,
      op: recorded.op!,
      type: dtypeOf(recorded.type!, recorded.name!),
      ne: recorded.ne as unknown as Four,
      nb: recorded.nb as unknown as Four,
      params: recorded.params!,
      flags: recorded.flags!,
      src: recorded.src!,
      ...(recorded.viewSrc === undefined
        ? {}
        : { viewSrc: recorded.viewSrc, viewOffs: recorded.viewOffs ?? 0 }),
      buffer: recorded.buffer!,
      isZero: recorded.isZero === true,
    };
    this.tensors.push(tensor);
    while (this.graphs.length <= graph) {
      this.graphs.push({ nodes: [], leaves: [] });
      this.rowInputs.push({});
    }
    const { bytes } = recorded;
    if (kind === 'input' && bytes !== undefined && tensor.type === 'I32')
      this.#takeRowInput(tensor, this.rowInputs[graph]!, bytes);
    const isLeaf = kind === 'weight' || kind === 'input' || kind === 'state';
    this.graphs[graph]![isLeaf ? 'leaves' : 'nodes'].push(id);
    return tensor;
  }

  /** Of positions, the first axis: there are several where an image has rows and columns. */
  #takeRowInput({ name }: RecordedTensor, inputs: RowInputs, bytes: Uint8Array): void {
    const values = new Int32Array(bytes.slice().buffer);
    if (name === 'inp_tokens') inputs.tokens = values;
    if (name === 'inp_pos') inputs.positions = values;
  }
}

/** Sizes of what a tensor adds: of a SET_ROWS, whose result is a whole cache, the rows that it writes. */
export function valueSizes<T extends { op: string; ne: Four; src: readonly (number | null)[] }>(
  { op, ne, src }: T,
  tensors: readonly T[],
): Four {
  return op === 'SET_ROWS' && src[0] != null ? tensors[src[0]]!.ne : ne;
}

function dtypeOf(type: number, name: string): TapDtype {
  const dtype = ggmlTypeName(type).split(' ')[0]!;
  if (!(TAP_DTYPES as readonly string[]).includes(dtype))
    throw unexpected('an element type of the dump format', `${ggmlTypeName(type)} (${name})`);
  return dtype as TapDtype;
}

/** An error of the recorder's own: what libllama told does not fit together. */
export function unexpected(expected: string, got: string): ZayascopeError {
  return unmet('BACKEND', 'record', expected, got);
}
