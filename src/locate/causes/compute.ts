/** Computes an op in other ways and compares with what the tested program made. */
import { blockSize, type Dtype, ggmlType } from '../../dtype.js';
import { ZayascopeError } from '../../errors.js';
import type { Backend } from '../../graph/backend.js';
import { type CompiledGraphs, compileGraphs } from '../../graph/compile.js';
import type { Graph } from '../../graph/graph.js';
import { elementCount } from '../../graph/shape.js';
import { native } from '../../native.js';
import { buildPiece, type Leaf } from '../repro/piece.js';
import type { Alternative } from './alternative.js';
import type { Values } from './layout.js';
import type { OpenPiece } from './open-op.js';
import { rewritten } from './rewrite.js';

/** Runs one op again and again; its own graph is compiled once. */
export class OpComputer implements Disposable {
  readonly #op: OpenPiece & { expected?: Values };
  readonly #backend: Backend;
  readonly #own: CompiledGraphs;
  readonly #bytes = new Map<string, Promise<ArrayBufferView>>();

  /** @param op without an expected value for `values` alone. */
  constructor(op: OpenPiece & { expected?: Values }, backend: Backend) {
    this.#op = op;
    this.#backend = backend;
    this.#own = compileGraphs(backend, [op.piece.graph]);
  }

  /**
   * The value as the model has it (default), or under an alternative; undefined where that cannot be built.
   */
  async values(alternative?: Alternative): Promise<Values | undefined> {
    const other = alternative === undefined ? undefined : this.#otherGraph(alternative);
    if (other === null) return undefined;
    if (other === undefined) return this.#run(this.#own, alternative);
    using compiled = compileGraphs(this.#backend, [other]);
    return await this.#run(compiled, alternative);
  }

  /**
   * Energy NMSE of the tested value against the computed one; of indices the share that differs. Infinity
   * where it cannot be computed or is not finite.
   */
  async error(alternative?: Alternative): Promise<number> {
    const values = await this.values(alternative).catch(unbuilt);
    return values === undefined
      ? Number.POSITIVE_INFINITY
      : errorOf(values, this.#op.expected!, this.#op.output.isInteger);
  }

  /** undefined: the op's own; null: none that fits. */
  #otherGraph({ node, config }: Alternative): Graph | null | undefined {
    const { source, setting, tap, piece } = this.#op;
    if (node !== undefined) return rewritten(piece, tap, node) ?? null;
    return config === undefined ? undefined : buildPiece({ ...source, config }, setting).graph;
  }

  async #run({ graphs }: CompiledGraphs, alternative: Alternative | undefined): Promise<Values> {
    const [graph] = graphs as [(typeof graphs)[0]];
    for (const { name } of graph!.inputs) {
      const leaf = this.#op.piece.leaves.find(({ input }) => input === name)!;
      graph!.setInput(name, await this.#inputBytes(leaf, alternative));
    }
    await this.#backend.native.compute([graph!.native]);
    const { bytes, dtype } = graph!.outputs()[0]!;
    const own = bytes.slice().buffer;
    const values = dtype === 'I32' ? new Int32Array(own) : new Float32Array(own);
    return alternative?.output === undefined ? values : await alternative.output(values);
  }

  async #inputBytes(leaf: Leaf, alternative: Alternative | undefined): Promise<ArrayBufferView> {
    const transform = alternative?.values?.get(leaf.input);
    if (transform !== undefined) return asDtype(await transform(await this.#op.leafValues(leaf)), leaf);
    if (leaf.kind === 'constant' && alternative?.config !== undefined)
      return this.#op.constant(leaf.name, alternative.config, 0);
    const known = this.#bytes.get(leaf.input) ?? this.#ownBytes(leaf);
    this.#bytes.set(leaf.input, known);
    return known;
  }

  async #ownBytes(leaf: Leaf): Promise<ArrayBufferView> {
    if (leaf.kind === 'weight' && leaf.dtype !== 'F32') return this.#op.storedWeight(leaf);
    return asDtype(await this.#op.leafValues(leaf), leaf);
  }

  close(): void {
    this.#own.close();
  }

  [Symbol.dispose](): void {
    this.close();
  }
}

/** An alternative that the rules of ops refuse for these sizes is none; what else goes wrong is told. */
export function unbuilt(error: unknown): undefined {
  const refused = ['SHAPE_MISMATCH', 'DTYPE_UNSUPPORTED', 'BAD_ARGUMENT', 'BAD_DUMP'];
  if (error instanceof ZayascopeError && refused.includes(error.code)) return undefined;
  throw error;
}

async function asDtype(values: Values, { dtype, shape }: Leaf): Promise<ArrayBufferView> {
  if (dtype === 'F32' || dtype === 'I32') return values;
  const row = blockSize(dtype as Dtype) === 1 ? elementCount(shape) : shape.at(-1)!;
  return native().quantize(values as Float32Array, ggmlType(dtype), row, null);
}

/** Energy NMSE of `tested` against `right`; of indices the share that differs. */
export function errorOf(right: Values, tested: Values, isInteger: boolean): number {
  if (right.length !== tested.length) return Number.POSITIVE_INFINITY;
  let [error, size] = [0, 0];
  for (let k = 0; k < right.length; k++) {
    if (isInteger) error += Number(right[k] !== tested[k]);
    else {
      error += (right[k]! - tested[k]!) ** 2;
      size += right[k]! ** 2;
    }
  }
  if (isInteger) return right.length === 0 ? 0 : error / right.length;
  if (Number.isNaN(error)) return Number.POSITIVE_INFINITY;
  return error === 0 ? 0 : error / size;
}
