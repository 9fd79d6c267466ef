/** An op at fault, taken out of the model with what it reads and what the tested program made of that. */

import type { DumpView } from '../../dump/dump-view.js';
import { toFloat32 } from '../../dump/float.js';
import { ZayascopeError } from '../../errors.js';
import { VIEW_OPS } from '../../graph/ops.js';
import type { Setting } from '../../graph/policy.js';
import { elementCount, type Shape } from '../../graph/shape.js';
import type { Tensor } from '../../graph/tensor.js';
import { architectureOf } from '../../models/architectures.js';
import type { ModelConfig } from '../../models/runtime/architecture.js';
import { axisSize } from '../../models/runtime/axes.js';
import { placeTables } from '../../models/runtime/inputs.js';
import type { Model } from '../../models/runtime/model.js';
import { type ModelTap, traceModel } from '../../models/runtime/trace.js';
import { requiredTensors } from '../../models/runtime/weights.js';
import { heldColumns } from '../replay/graft.js';
import { initialState } from '../repro/leaves.js';
import { buildPiece, type Leaf, opTap, type Piece, type PieceSource } from '../repro/piece.js';
import { readPrefix } from '../repro/values.js';
import { weightBytes, weightValues } from '../repro/weights.js';
import type { CauseOp, OpInput } from './alternative.js';
import { factorsOf, type Values } from './layout.js';

/** What {@link openOp} takes an op from. */
export interface OpOrigin {
  model: Model;
  /** Settings under which the tested dump's ops are recomputed. */
  setting: Setting;
  tested: DumpView;
  /** True for values that all dumps hold. */
  holds: (name: string) => boolean;
  sequence: number;
  /** Positions of the sequence from its start. */
  tokens: number;
  /** Lengths of all sequences, to be taken as one of `tokens` positions. Default: `sequence` alone. */
  joined?: readonly number[];
  /** Values of the sequence that are read in place of the tested dump's, by tap, and of what it lacks. */
  given?: ReadonlyMap<string, Values>;
}

/** An op, and the values of its leaves. */
export interface OpenPiece extends CauseOp {
  source: PieceSource;
  setting: Setting;
  leafValues(leaf: Leaf): Promise<Values>;
  /**
   * A weight as the graph takes it: quantised blocks as they are stored, for another rounding of them
   * differs.
   */
  storedWeight(leaf: Leaf): Promise<Uint8Array>;
}

/** An op, and what the tested program made of it. */
export interface OpenOp extends OpenPiece {
  expected: Values;
}

/** Weights of one op beyond which no cause is looked for: each is held widened to F32. */
const MAX_WEIGHT_BYTES = 2 ** 30;

/**
 * Takes an op out of the model, with the tested value. undefined where that cannot be done: a state, an input
 * that the dump lacks, weights of more than 1 GiB, values that are not finite.
 */
export async function openOp(name: string, origin: OpOrigin): Promise<OpenOp | undefined> {
  return orUndefined(async () => {
    const op = await takenOut(name, origin);
    if (op === undefined) return undefined;
    const expected = await op.tapValues(name, op.piece.graph.outputs.get(name)!);
    return expected.every(Number.isFinite) ? { ...op, expected } : undefined;
  });
}

/** Takes an op out of the model whose value the tested dump may lack; undefined as {@link openOp}. */
export async function openPiece(name: string, origin: OpOrigin): Promise<OpenPiece | undefined> {
  return orUndefined(() => takenOut(name, origin));
}

async function orUndefined<T>(take: () => Promise<T | undefined>): Promise<T | undefined> {
  try {
    return await take();
  } catch (error) {
    // What cannot be taken out of this dump (rows of another size, a state, a missing position) has no cause
    // to be found.
    if (error instanceof ZayascopeError && error.code !== 'IO') return undefined;
    throw error;
  }
}

async function takenOut(name: string, origin: OpOrigin): Promise<OpenPiece | undefined> {
  const { model, setting, tested, holds, sequence, tokens, given } = origin;
  const { config } = model;
  const held = new Set([...tested.taps.map((tap) => tap.name).filter(holds), ...(given?.keys() ?? [])]);
  const { checkpoint } = model.weights;
  const required = new Map(
    requiredTensors(config, checkpoint.tensors.has('lm_head.weight')).map((each) => [each.name, each]),
  );
  const tap = opTap(config, name);
  const source: PieceSource = {
    config,
    required,
    op: tap,
    tokens,
    stored: new Map([...checkpoint.tensors.values()].map((info) => [info.name, info.dtype])),
    isGiven: (each) => held.has(each),
    // Of a trimmed value what the dump lacks is computed.
    columns: (each, shape) =>
      held.has(each) && given?.has(each) !== true
        ? heldColumns(tested, tested.tap(each), shape)
        : shape.at(-1)!,
  };
  const piece = buildPiece(source, setting);
  const taps = new Map(
    traceModel(config, { hasHead: required.has('lm_head.weight') }).taps.map((each) => [each.name, each]),
  );
  if (piece.leaves.some((leaf) => leaf.kind === 'tap' && !held.has(leaf.name))) return undefined;
  const bytes = piece.leaves
    .filter(({ kind }) => kind === 'weight')
    .reduce((sum, { shape }) => sum + 4 * elementCount(shape), 0);
  if (bytes > MAX_WEIGHT_BYTES) return undefined;
  const size = (axis: string) => axisSize(config, axis, tokens) as number | undefined;
  const lengths = origin.joined ?? [tokens];
  const readOne = async (tapName: string, at: number, length: number, shape: Shape): Promise<Values> => {
    const { dtype, data } = await readPrefix(tested, tapName, at, length, shape);
    return dtype === 'I32' ? (data as Int32Array) : toFloat32(data, dtype);
  };
  const read = memoised(async (tapName: string, shape: Shape): Promise<Values> => {
    const own = given?.get(tapName);
    if (own !== undefined) return own;
    // What stands in front of a call stands in front of the first sequence.
    if (origin.joined === undefined || tested.tap(tapName).scope === 'step')
      return readOne(tapName, sequence, tokens, shape);
    const parts: Values[] = [];
    for (const [at, length] of lengths.entries())
      parts.push(await readOne(tapName, at, length, [length, ...shape.slice(1)]));
    return joinedRows(parts);
  });
  const weightOf = memoised(async (weight: string) => weightValues(checkpoint.tensors.get(weight)!));
  const output = piece.graph.outputs.get(name)!;
  const constant = (each: string, other: ModelConfig, past: number) =>
    constantOf(each, other, tap, tokens, past);
  return {
    tap: name,
    block: tap.block,
    config,
    tokens,
    source,
    setting,
    piece,
    inputs: piece.leaves.map((leaf): OpInput => {
      const of = leaf.kind === 'tap' ? taps.get(leaf.name) : undefined;
      return {
        leaf,
        factors: of === undefined ? [] : factorsOf(of.axes, size, leaf.shape),
        weight: leaf.kind === 'weight' ? required.get(leaf.name) : undefined,
        uses: usesOf(piece, leaf),
      };
    }),
    output: {
      isInteger: output.dtype === 'I32',
      factors: factorsOf(tap.axes, size, output.shape),
      elements: elementCount(output.shape),
    },
    weights: required,
    alike: (tapName) => alikeTaps(taps, tapName, held),
    // Those of other blocks are not kept: a model's experts would fill the memory.
    weightValues: (weight) =>
      piece.leaves.some((leaf) => leaf.name === weight)
        ? weightOf(weight)
        : weightValues(checkpoint.tensors.get(weight)!),
    tapValues: (tapName, like) => read(tapName, like.shape),
    constant,
    storedWeight: ({ name: weight, dtype }) => weightBytes(checkpoint.tensors.get(weight)!, dtype),
    async leafValues(leaf) {
      if (leaf.kind === 'constant') return constant(leaf.name, config, 0);
      if (leaf.kind === 'weight') return weightOf(leaf.name);
      if (leaf.kind === 'tap') return read(leaf.name, leaf.shape);
      if (leaf.kind === 'tokens')
        return Int32Array.from(
          origin.joined === undefined
            ? tested.manifest.sequences[sequence]!.tokens!.slice(0, tokens)
            : tested.manifest.sequences.flatMap((each) => each.tokens!),
        );
      return initialState(leaf, { checkpoint: model.weights.checkpoint, config: model.config });
    },
  };
}

function joinedRows(parts: readonly Values[]): Values {
  const all = new (parts[0]!.constructor as Float32ArrayConstructor)(
    parts.reduce((sum, { length }) => sum + length, 0),
  );
  let at = 0;
  for (const part of parts) {
    all.set(part, at);
    at += part.length;
  }
  return all;
}

function memoised<A extends [string, ...unknown[]], R>(
  make: (...args: A) => Promise<R>,
): (...args: A) => Promise<R> {
  const known = new Map<string, Promise<R>>();
  return (...args) => {
    const key = args.join(' ');
    const value = known.get(key) ?? make(...args);
    known.set(key, value);
    return value;
  };
}

/** Ops that read a leaf, past those that only move its elements. */
function usesOf({ nodes }: Piece, leaf: Leaf): Tensor[] {
  const found: Tensor[] = [];
  const moves = (node: Tensor) => VIEW_OPS.has(node.op) || node.op === 'cont' || node.op === 'cast';
  const from = new Set(nodes.filter(({ op, name }) => op === 'input' && name === leaf.input));
  for (const node of nodes)
    if (node.sources.some((source) => from.has(source))) {
      if (moves(node)) from.add(node);
      else found.push(node);
    }
  return found;
}

/** Values of the same axes in a value's own block. */
function alikeTaps(taps: ReadonlyMap<string, ModelTap>, name: string, held: ReadonlySet<string>): string[] {
  const own = taps.get(name);
  if (own === undefined) return [];
  return [...taps.values()]
    .filter(
      ({ block, axes, dtype }) =>
        block === own.block && axes.join() === own.axes.join() && dtype === own.dtype,
    )
    .map((each) => each.name)
    .filter((each) => each !== name && held.has(each));
}

function constantOf(name: string, config: ModelConfig, tap: ModelTap, tokens: number, past: number): Values {
  const table = architectureOf(config).tables(config)[name];
  if (table !== undefined) return table.values;
  const type = config.layer_types[tap.block ?? 0]!;
  const sizes = { batch: 1, tokens, span: tokens, padded: false };
  return placeTables(config, type, sizes, { past, padding: [] })[name as 'mask' | 'cos' | 'sin'];
}
