/** Values of a recording's tensors: its taps, the model's weights, and memory that nodes wrote before. */

import { blockElements, storedBytes, tapBlockBytes } from '../../dump/dtypes.js';
import { type DumpGraph, type GraphTensor, ownerOf } from '../../dump/graph-file.js';
import type { Dump } from '../../dump/reader.js';
import { unmet, ZayascopeError } from '../../errors.js';
import { elementCount } from '../../graph/shape.js';
import type { Four } from '../record/recorded-graph.js';
import { inGgmlOrder } from '../record/tap-plan.js';
import type { WeightValues } from './weight-values.js';

/** Gives the bytes of tensors, each at the time at which a node of the graph reads it. */
export class ReplayValues {
  readonly #dump: Dump;
  readonly #graph: DumpGraph;
  readonly #others: readonly GraphTensor[];
  readonly #weights: WeightValues;
  /** Memory by the id of the tensor that owns it; of weights, states, and what nodes of this graph made. */
  readonly #memory = new Map<number, Uint8Array>();
  /** How many nodes of the graph still read a tensor's memory. */
  #readers = new Map<number, number>();

  /** @param others the same tensors as another graph has them, whose sources are kept as long too. */
  constructor(dump: Dump, graph: DumpGraph, weights: WeightValues, others: readonly GraphTensor[] = []) {
    this.#others = others;
    this.#dump = dump;
    this.#graph = graph;
    this.#weights = weights;
  }

  /** Begins a graph: memory of the last one is let go, but for weights and states. */
  begin(nodes: readonly number[]): void {
    const { tensors } = this.#graph;
    for (const id of this.#memory.keys())
      if (tensors[id]!.weight === undefined && tensors[id]!.state === undefined) this.#memory.delete(id);
    this.#readers = new Map();
    for (const id of nodes)
      for (const owner of this.#owners(tensors[id]!))
        this.#readers.set(owner, (this.#readers.get(owner) ?? 0) + 1);
  }

  /** After a node: lets go of what no later node reads. */
  end(node: GraphTensor): void {
    const { tensors } = this.#graph;
    for (const owner of this.#owners(node)) {
      const left = this.#readers.get(owner)! - 1;
      this.#readers.set(owner, left);
      if (left === 0 && tensors[owner]!.state === undefined) this.#memory.delete(owner);
    }
  }

  /** The tensor whose memory another one lies in. */
  owner(tensor: GraphTensor): GraphTensor {
    return ownerOf(tensor, this.#graph.tensors);
  }

  /** The memory that a tensor lies in, as it is now. @throws `BAD_DUMP` where the recording lacks it. */
  async memory(tensor: GraphTensor, step: number): Promise<Uint8Array> {
    const owner = this.owner(tensor);
    const known = this.#memory.get(owner.id);
    if (known !== undefined) return known;
    const bytes = await this.#leaf(owner, step);
    this.#memory.set(owner.id, bytes);
    return bytes;
  }

  /** Whether the memory that a tensor lies in is known. */
  holds(tensor: GraphTensor): boolean {
    const owner = this.owner(tensor);
    return this.#memory.has(owner.id) || owner.op === 'NONE';
  }

  /** Memory for a node's result, which nothing has written yet. */
  blank(node: GraphTensor): Uint8Array {
    const bytes = new Uint8Array(sizeOf(node));
    this.#memory.set(node.id, bytes);
    return bytes;
  }

  /** What the recording holds of a node, elements in ggml's order. */
  async recorded(tensor: GraphTensor, ne: Four, step: number): Promise<Uint8Array> {
    const { tap, type, axes = [3, 2, 1, 0] } = tensor;
    if (tap === undefined) throw lacking('its value in the recording', tensor);
    if (ne.includes(0)) return new Uint8Array(0);
    const { data } = await this.#dump.read(tap, { step }).catch((error: unknown) => {
      if (error instanceof ZayascopeError && error.code === 'BAD_ARGUMENT')
        throw lacking(`its value at step ${step}`, tensor);
      throw error;
    });
    const bytes = new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
    const expected = storedBytes(type, elementCount(ne));
    if (bytes.byteLength !== expected) throw lacking(`${expected} bytes`, tensor, `${bytes.byteLength}`);
    return inGgmlOrder(bytes, [ne[0] / blockElements(type), ne[1], ne[2], ne[3]], axes, tapBlockBytes(type));
  }

  async #leaf(tensor: GraphTensor, step: number): Promise<Uint8Array> {
    if (tensor.weight !== undefined) {
      const weight = this.#weights.tensors.get(tensor.weight);
      const size = sizeOf(tensor);
      if (weight === undefined || weight.dtype !== tensor.type || weight.sizeBytes !== size)
        throw new ZayascopeError(
          'UNPAIRED',
          `replay: expected the model that ran, with ${tensor.weight} of ${size} bytes in ${tensor.type}, got ${weight === undefined ? 'none' : `${weight.sizeBytes} in ${weight.dtype}`}`,
          { op: 'replay', tensor: tensor.weight },
        );
      return this.#weights.read(tensor.weight);
    }
    if (tensor.state === 'zero') return this.#zeros(tensor);
    if (tensor.op !== 'NONE') throw lacking('a node that comes before its readers', tensor);
    // A leaf without memory is never read; an empty one has nothing to read.
    if (tensor.tap === undefined) return this.#zeros(tensor);
    return (await this.recorded(tensor, tensor.ne, step)).slice();
  }

  /**
   * Zeros of a cache, or of a leaf that is never read: no file holds them, so the model's size bounds them.
   */
  #zeros(tensor: GraphTensor): Uint8Array {
    const size = sizeOf(tensor);
    if (size > SMALL_STATE_BYTES) {
      let model = 0;
      for (const { sizeBytes } of this.#weights.tensors.values()) model += sizeBytes;
      const most = Math.max(SMALL_STATE_BYTES, STATE_PER_MODEL * model);
      if (size > most) throw lacking(`a cache of at most ${most} bytes beside this model`, tensor, `${size}`);
    }
    return new Uint8Array(size);
  }

  #owners(node: GraphTensor): Set<number> {
    const owners = new Set<number>();
    for (const tensors of [this.#graph.tensors, this.#others]) {
      const found = tensors[node.id];
      if (found === undefined) continue;
      const all = [found, ...found.src.filter((id) => id !== null).map((id) => tensors[id]!)];
      for (const tensor of all) owners.add(this.owner(tensor).id);
    }
    return owners;
  }
}

/** Bytes of a tensor that lies in memory of its own, without gaps. */
function sizeOf({ type, ne, name }: GraphTensor): number {
  const size = storedBytes(type, elementCount(ne));
  if (!(Number.isSafeInteger(size) && size <= MAX_TENSOR_BYTES))
    throw unmet(
      'BAD_DUMP',
      'replay',
      `a tensor of whole blocks and at most ${MAX_TENSOR_BYTES} bytes`,
      `${ne.join(' x ')} of ${type}`,
      { where: name, tensor: name },
    );
  return size;
}

/** A cache of this size goes with any model. */
const SMALL_STATE_BYTES = 2 ** 27;
/** One cache of a larger one is at most so many times the size of the model's weights. */
const STATE_PER_MODEL = 16;
/** What one array holds in every Node that is supported. */
const MAX_TENSOR_BYTES = 2 ** 32;

export function lacking(expected: string, { name, op }: GraphTensor, got = 'none'): ZayascopeError {
  return unmet('BAD_DUMP', 'replay', expected, got, { where: `${op} ${name}`, tensor: name });
}
