/** An op of a batch of several sequences, computed for each and put together. */
import type { Policy } from '../../../graph/policy.js';
import { resolvePolicy } from '../../../graph/policy.js';
import { type Alternative, endsWith, type OpInput, type Transform } from '../alternative.js';
import { OpComputer, unbuilt } from '../compute.js';
import type { StructureInput } from '../explain.js';
import type { Factor, Values } from '../layout.js';
import { type OpenPiece, openOp, openPiece } from '../open-op.js';

/** What a batch op is taken from. */
export interface BatchOrigin {
  input: StructureInput;
  policy: Policy;
  tap: string;
  /** Tokens of each sequence. */
  lengths: readonly number[];
  /** Values of all sequences that are read in place of the tested dump's, and of what it lacks. */
  given?: ReadonlyMap<string, Float32Array>;
}

/** Another value of all sequences in the place of one that the op reads. */
export interface Replaced {
  tap: string;
  values: Float32Array;
}

/** The op of each sequence, and what the tested program made of all. */
export class BatchOp implements Disposable {
  readonly #ops: readonly OpenPiece[];
  readonly #computers: readonly OpComputer[];
  readonly #lengths: readonly number[];
  /** Elements of all sequences, one after another; undefined where the tested dump lacks the value. */
  readonly tested: Float32Array | undefined;
  /** Axes of the op's value but for that of tokens. */
  readonly factors: readonly Factor[];

  private constructor(
    ops: readonly OpenPiece[],
    computers: readonly OpComputer[],
    lengths: readonly number[],
    tested: Float32Array | undefined,
  ) {
    this.#ops = ops;
    this.#computers = computers;
    this.#lengths = lengths;
    this.tested = tested;
    this.factors = ops[0]!.output.factors.slice(1);
  }

  /**
   * undefined where it cannot be taken out of the dump, or is no float. @param isTested false for a value
   * that the tested dump lacks.
   */
  static async open(origin: BatchOrigin, isTested = true): Promise<BatchOp | undefined> {
    const { policy, tap, lengths, given } = origin;
    const { runners, tested, holds } = origin.input;
    const model = runners.model!;
    const ops: OpenPiece[] = [];
    const expected: Float32Array[] = [];
    for (const [sequence, tokens] of lengths.entries()) {
      const own = new Map([...(given ?? [])].map(([name, all]) => [name, partOf(all, lengths, sequence)]));
      const setting = resolvePolicy(policy);
      const at = { model, setting, tested, holds, sequence, tokens, given: own };
      const op: (OpenPiece & { expected?: Values }) | undefined = await (isTested ? openOp : openPiece)(
        tap,
        at,
      );
      if (op === undefined || op.output.isInteger) return undefined;
      if (op.expected !== undefined) {
        if (op.expected.length !== op.output.elements) return undefined;
        expected.push(op.expected as Float32Array);
      }
      ops.push(op);
    }
    const computers = ops.map((op) => new OpComputer(op, model.backend));
    return new BatchOp(ops, computers, lengths, isTested ? joinedValues(expected) : undefined);
  }

  /** The value of all sequences. @param isPlain true to leave biases out that are added at its end. */
  async values(replaced?: Replaced, isPlain = false): Promise<Float32Array | undefined> {
    const parts: Float32Array[] = [];
    for (const [sequence, op] of this.#ops.entries()) {
      const changes = new Map<string, Transform>();
      for (const input of op.inputs) {
        const { leaf } = input;
        if (replaced !== undefined && leaf.kind === 'tap' && leaf.name === replaced.tap)
          changes.set(leaf.input, () => partOf(replaced.values, this.#lengths, sequence));
        if (isPlain && isBias(op, input))
          changes.set(leaf.input, (values) => new Float32Array(values.length));
      }
      const other: Alternative = { key: '', says: '', so: '', values: changes };
      const computer = this.#computers[sequence]!;
      const part = await computer.values(changes.size === 0 ? undefined : other).catch(unbuilt);
      if (part === undefined) return undefined;
      parts.push(part as Float32Array);
    }
    return joinedValues(parts);
  }

  get hasBias(): boolean {
    const [op] = this.#ops as [OpenPiece];
    return op.inputs.some((input) => isBias(op, input));
  }

  /** Floats with a row for each token that the op reads, and their axes but for that of tokens. */
  get reads(): { tap: string; factors: readonly Factor[] }[] {
    return this.#ops[0]!.inputs.filter(
      ({ leaf }) => leaf.kind === 'tap' && leaf.dtype === 'F32' && leaf.shape[0] === this.#lengths[0],
    ).map(({ leaf, factors }) => ({ tap: leaf.name, factors: factors.slice(1) }));
  }

  /** Values that are computed on the way, the last first. */
  get passed(): string[] {
    return this.#ops[0]!.piece.passed.slice(0, -1).toReversed();
  }

  /** What the op reads of a value, of all sequences. */
  async read(tap: string): Promise<Float32Array> {
    const parts: Values[] = [];
    for (const op of this.#ops)
      parts.push(await op.leafValues(op.inputs.find(({ leaf }) => leaf.name === tap)!.leaf));
    return joinedValues(parts as Float32Array[]);
  }

  [Symbol.dispose](): void {
    for (const computer of this.#computers) computer.close();
  }
}

/** True for a bias that is added last. */
function isBias(op: OpenPiece, input: OpInput): boolean {
  const { kind, name } = input.leaf;
  return kind === 'weight' && name.endsWith('.bias') && endsWith(op, input);
}

/** Error of the op where all sequences are one; Infinity where it cannot be computed so. */
export async function asOneError({ input, policy, tap, lengths }: BatchOrigin): Promise<number> {
  const { runners, tested, holds } = input;
  const model = runners.model!;
  const op = await openOp(tap, {
    ...{ model, setting: resolvePolicy(policy), tested, holds },
    sequence: 0,
    tokens: lengths.reduce((a, b) => a + b),
    joined: lengths,
  });
  if (op === undefined || op.output.isInteger) return Number.POSITIVE_INFINITY;
  using computer = new OpComputer(op, model.backend);
  return await computer.error();
}

function partOf(all: Float32Array, lengths: readonly number[], sequence: number): Float32Array {
  const row = all.length / lengths.reduce((a, b) => a + b);
  const start = lengths.slice(0, sequence).reduce((a, b) => a + b, 0);
  return all.slice(row * start, row * (start + lengths[sequence]!));
}

/** Elements of all sequences, one after another. */
export function joinedValues(parts: readonly Float32Array[]): Float32Array {
  const all = new Float32Array(parts.reduce((sum, { length }) => sum + length, 0));
  let at = 0;
  for (const part of parts) {
    all.set(part, at);
    at += part.length;
  }
  return all;
}
