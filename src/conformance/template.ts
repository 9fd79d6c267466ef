import type { Dtype } from '../dtype.js';
import { ZayascopeError } from '../errors.js';
import { Graph } from '../graph/graph.js';
import type { OpName } from '../graph/ops.js';
import { copy } from '../graph/ops-layout.js';
import { formatShape, type Shape } from '../graph/shape.js';
import { isPacked, type Tensor } from '../graph/tensor.js';
import { canLie, type Layout, type Operand, placeOperand, type Values } from './operand.js';

/** What cases made of NaN and infinities are named after. */
export const SPECIAL_CASES = 'NaN and Inf';

/** Dtypes that a graph computes with and can give back. */
export const PLAIN: readonly Dtype[] = ['F32', 'F16', 'BF16', 'I32'];
/**
 * Quantised dtypes that devices are judged in. The IQ, TQ, FP4, one- and two-bit types are read from files,
 * and the tests of the op library run every op in them on the CPU.
 */
const JUDGED: readonly Dtype[] = [
  'Q4_0',
  'Q4_1',
  'Q5_0',
  'Q5_1',
  'Q8_0',
  'Q2_K',
  'Q3_K',
  'Q4_K',
  'Q5_K',
  'Q6_K',
];
/** All dtypes that an operand may have. */
export const ALL: readonly Dtype[] = [...PLAIN, ...JUDGED];

/** One operand of a {@link Template}: candidates, of which the op's own rule picks. */
export interface Role {
  /** Default {@link PLAIN}. */
  dtypes?: readonly Dtype[];
  /** Default `normal`. */
  values?: Values | ((shapes: Readonly<Record<string, Shape>>) => Values);
}

/**
 * An op with its scalar arguments, and the shapes to run it on. What it accepts is not written down here: its
 * rule is asked.
 */
export interface Template {
  op: OpName;
  roles: Readonly<Record<string, Role>>;
  /** With a word on where the shape is from. */
  shapes: readonly { from: string; shapes: Readonly<Record<string, Shape>> }[];
  build(tensors: Record<string, Tensor>): Tensor;
  /** NaN and infinities have one right result. */
  special?: boolean;
  /** Values are given for the shapes as they are: no strided ones. */
  isCaptured?: boolean;
}

/** One op on one set of operands. */
export interface ConformanceCase {
  op: OpName;
  /**
   * Dtypes of the operands, indices left out, and of the result where it differs from the last:
   * `F16 F32 → F16`.
   */
  dtype: string;
  /** Shapes of the operands, and how they lie where they are not dense: `[5, 33] · [3, 33] inner`. */
  shape: string;
  /** Where the shape or the values are from. */
  from: string;
  operands: Readonly<Record<string, Operand>>;
  build(tensors: Record<string, Tensor>): Tensor;
  seed: number;
}

/**
 * A case as a graph: every operand is an input (or a view of one), the only output is the result, contiguous.
 */
export interface CaseGraph {
  graph: Graph;
  /** The op's own result. */
  result: Tensor;
  /** What is read: the result, or a copy of it where it is strided. */
  read: Tensor;
}

/** Builds the graph of a case. Throws what the op's rule throws. */
export function caseGraph({ operands, build }: Pick<ConformanceCase, 'operands' | 'build'>): CaseGraph {
  const graph = new Graph('conformance');
  const tensors = Object.entries(operands).map(
    ([name, operand]) => [name, placeOperand(graph, name, operand)] as const,
  );
  const result = build(Object.fromEntries(tensors));
  const read = isPacked(result) ? result : copy(result);
  graph.output('result', read);
  return { graph, result, read };
}

const STRIDED: readonly Layout[] = ['inner', 'middle', 'transposed'];

/**
 * All cases of a template: every combination of dtypes that the rule accepts on every shape; on the last
 * shape of the most axes also every operand strided in every way that the rule accepts; on the last shape NaN
 * and infinities, where they have one right result.
 */
export function casesOf(template: Template): ConformanceCase[] {
  const { shapes, special = false, isCaptured = false } = template;
  const rank = (each: Template['shapes'][number]) =>
    Math.max(...Object.values(each.shapes).map(({ length }) => length));
  const highest = Math.max(...shapes.map(rank));
  const strided = shapes.findLast((each) => rank(each) === highest)!;
  const cases = shapes.flatMap((each) => expand(template, each, undefined));
  const views = (isCaptured ? [] : Object.keys(template.roles)).flatMap((role) =>
    STRIDED.flatMap((layout) => expand(template, { ...strided, from: 'strided' }, { role, layout })),
  );
  const odd = special ? expand(template, { ...shapes.at(-1)!, from: SPECIAL_CASES }, undefined) : [];
  return [...cases, ...views, ...odd].map((each, seed) => ({ ...each, seed }));
}

function expand(
  template: Template,
  { from, shapes }: Template['shapes'][number],
  view: { role: string; layout: Layout } | undefined,
): Omit<ConformanceCase, 'seed'>[] {
  const names = Object.keys(template.roles);
  let combinations: Record<string, Operand>[] = [{}];
  for (const name of names) {
    const { dtypes = PLAIN, values = 'normal' } = template.roles[name]!;
    const layout = view?.role === name ? view.layout : 'dense';
    const given = typeof values === 'function' ? values(shapes) : values;
    const shape = shapes[name]!;
    combinations = combinations.flatMap((before) =>
      dtypes
        .filter((dtype) => canLie({ dtype, shape }, layout))
        .map((dtype) => {
          const isSpecial = from === SPECIAL_CASES && given === 'normal' && dtype !== 'I32';
          return { ...before, [name]: { dtype, shape, layout, values: isSpecial ? 'special' : given } };
        }),
    );
  }
  return combinations.flatMap((operands) => {
    const { op, build } = template;
    const built = accepted(op, { operands, build });
    return built === undefined ? [] : [{ op, ...describe(operands, built), from, operands, build }];
  });
}

/** The result, or undefined where the op's rule rejects the operands or there is nothing to do. */
function accepted(op: OpName, sketch: Pick<ConformanceCase, 'operands' | 'build'>): Tensor | undefined {
  try {
    const { graph, result } = caseGraph(sketch);
    return graph.tensors.some((tensor) => tensor.op === op) ? result : undefined;
  } catch (error) {
    const codes = ['DTYPE_UNSUPPORTED', 'SHAPE_MISMATCH', 'BAD_ARGUMENT'];
    if (error instanceof ZayascopeError && codes.includes(error.code)) return undefined;
    throw error;
  }
}

function describe(operands: Record<string, Operand>, result: Tensor): { dtype: string; shape: string } {
  const shown = Object.values(operands);
  const isIndex = ({ values }: Operand) =>
    values === 'positions' || (typeof values === 'object' && 'below' in values);
  const dtypes = shown.filter((each) => !isIndex(each)).map(({ dtype }) => dtype);
  const to = result.dtype === dtypes.at(-1) ? '' : ` → ${result.dtype}`;
  const shapes = shown.map(
    ({ shape, layout }) => `${formatShape(shape)}${layout === 'dense' ? '' : ` ${layout}`}`,
  );
  return { dtype: `${dtypes.join(' ')}${to}`, shape: shapes.join(' · ') };
}
