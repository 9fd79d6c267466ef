import { VIEW_OPS } from '../../graph/ops.js';
import type { Tensor } from '../../graph/tensor.js';
import type { ModelConfig } from '../../models/runtime/architecture.js';
import type { RequiredTensor } from '../../models/runtime/weights.js';
import type { Leaf, Piece } from '../repro/piece.js';
import type { Factor, Values } from './layout.js';

/** Other elements in the place of a value's own; the argument is left as it is. */
export type Transform = (values: Values) => Values | Promise<Values>;

/**
 * Another node in the place of one: undefined leaves it. `sources` are those of the graph under construction.
 */
export type NodeEdit = (node: Tensor, sources: readonly Tensor[]) => Tensor | undefined;

/**
 * One way in which another program may compute an op: what it reads, in which form, or how it stores what
 * comes out.
 */
export interface Alternative {
  /** Equal for the same cause at another op, so that many ops with one cause are one line. */
  key: string;
  /** A clause, e.g. `gate and up are swapped`; where it names blocks, made of those in which it was found. */
  says: string | ((blocks: readonly number[]) => string);
  /** The same done to other weights: ops that have this in common are one line too, which then says this. */
  family?: { key: string; says: string };
  /** How the op was computed then, e.g. `swapped`: stands after the error. */
  so: string;
  /** What the op reads instead, by input of its graph. */
  values?: ReadonlyMap<string, Transform>;
  node?: NodeEdit;
  /** A configuration under which graph, tables and masks are made. */
  config?: ModelConfig;
  /** What becomes of the computed value. */
  output?: Transform;
}

/** Something that an op reads. */
export interface OpInput {
  leaf: Leaf;
  /** Of a weight: without the names that only a value's axes have. */
  factors: readonly Factor[];
  weight: RequiredTensor | undefined;
  /** Ops that read it, past those that only move elements. */
  uses: readonly Tensor[];
}

/** An op at fault as the table of causes sees it. */
export interface CauseOp {
  tap: string;
  block: number | null;
  config: ModelConfig;
  tokens: number;
  piece: Piece;
  inputs: readonly OpInput[];
  output: { isInteger: boolean; factors: readonly Factor[]; elements: number };
  /** Weights of the model by name, also those that the op does not read. */
  weights: ReadonlyMap<string, RequiredTensor>;
  /** Values of the tested dump that could be read in place of another: same block, same axes. */
  alike(tap: string): readonly string[];
  /** Elements of a weight, or of a value of the tested dump. */
  weightValues(name: string): Promise<Float32Array>;
  tapValues(name: string, like: Pick<Leaf, 'shape'>): Promise<Values>;
  /** Table or mask of the op's layer type as another configuration or place has it. */
  constant(name: string, config: ModelConfig, past: number): Values;
}

/** A row of the table of causes. */
export interface CauseKind {
  name: string;
  /** Ways to compute the op so; none where the cause does not apply. */
  alternatives(op: CauseOp): Iterable<Alternative>;
}

/** The values among an op's inputs. */
export function tapInputsOf(op: CauseOp): readonly OpInput[] {
  return op.inputs.filter(({ leaf }) => leaf.kind === 'tap');
}

/** The weights among an op's inputs. */
export function weightInputsOf(op: CauseOp): readonly (OpInput & { weight: RequiredTensor })[] {
  return op.inputs.filter(
    (input): input is OpInput & { weight: RequiredTensor } => input.weight !== undefined,
  );
}

/** One input changed. */
export function changed(input: OpInput, transform: Transform): ReadonlyMap<string, Transform> {
  return new Map([[input.leaf.input, transform]]);
}

/** Each element changed. */
export function each(change: (value: number) => number): Transform {
  return (values) => (values as Float32Array).map(change);
}

/**
 * True where an op's result is a weight's product, up to a bias and moved elements: no other step follows.
 */
export function endsWith({ piece }: CauseOp, { uses }: OpInput): boolean {
  const after = new Set(uses);
  for (const node of piece.nodes) {
    if (!node.sources.some((source) => after.has(source))) continue;
    if (!VIEW_OPS.has(node.op) && !['cont', 'cast', 'add'].includes(node.op)) return false;
    after.add(node);
  }
  return true;
}
