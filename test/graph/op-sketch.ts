import type { Dtype } from '../../src/dtype.js';
import type { OpName } from '../../src/graph/ops.js';
import type { Shape } from '../../src/graph/shape.js';
import type { Tensor } from '../../src/graph/tensor.js';
import type { NdArray } from './nd-array.js';
import { canLie, LAYOUTS, type Layout, type Operand, type Values } from './operand.js';
import type { OpCase } from './run-op.js';

/**
 * What an operand's memory must look like: anything, contiguous rows (last axis), or contiguous altogether.
 */
export type LayoutNeed = 'any' | 'rows' | 'contiguous';

/** One operand of an op: everything that its rule accepts. */
export interface Role {
  dtypes: readonly Dtype[];
  layout: LayoutNeed;
  /**
   * Default `normal`. `{ belowSizeOf }` are indices into an axis (negative: from the end) of another operand.
   */
  values?: Extract<Values, string> | { belowSizeOf: string; axis: number };
}

export type Dtypes = Readonly<Record<string, Dtype>>;

/**
 * What the tests know about one op with one set of scalar arguments: which operands it accepts, and what it
 * must give. Cases, rejections and random combinations are all drawn from these.
 */
export interface OpSketch {
  op: OpName;
  /** Scalar arguments, for titles; default none. */
  title?: string;
  roles: Readonly<Record<string, Role>>;
  /** Combinations of dtypes that are accepted, where not all are. */
  pairs?(dtypes: Dtypes): boolean;
  shapes: readonly Readonly<Record<string, Shape>>[];
  build(tensors: Record<string, Tensor>): Tensor;
  /** Undefined where the op leaves the result open. */
  expected(values: Record<string, NdArray>, dtypes: Dtypes): NdArray | undefined;
  /** Dtype of the result; default F32. */
  result?(dtypes: Dtypes): Dtype;
  /** Largest NMSE where it is not the default. */
  tolerance?(dtypes: Dtypes): number | undefined;
  /** Differences up to this do not count; default 0. */
  floor?(dtypes: Dtypes): number | undefined;
}

const ALLOWED: Readonly<Record<LayoutNeed, readonly Layout[]>> = {
  any: LAYOUTS,
  rows: ['dense', 'offset', 'inner', 'middle'],
  contiguous: ['dense', 'offset'],
};

/** The layouts that a role accepts for an operand. */
export function acceptedLayouts(role: Role, operand: Operand): Layout[] {
  return ALLOWED[role.layout].filter((layout) => canLie(operand, layout));
}

/** `softMax factor 0.3`. */
export function titleOf({ op, title }: OpSketch): string {
  return title === undefined ? op : `${op} ${title}`;
}

/** Every accepted combination of dtypes of a sketch's operands. */
export function dtypeCombinations(sketch: OpSketch): Dtypes[] {
  let combinations: Record<string, Dtype>[] = [{}];
  for (const [name, { dtypes }] of Object.entries(sketch.roles))
    combinations = combinations.flatMap((chosen) => dtypes.map((dtype) => ({ ...chosen, [name]: dtype })));
  return combinations.filter((chosen) => sketch.pairs?.(chosen) ?? true);
}

/** Operands of a sketch for given dtypes, shapes and layouts (default `dense`). */
export function operandsOf(
  sketch: OpSketch,
  dtypes: Dtypes,
  shapes: Readonly<Record<string, Shape>>,
  layouts: Readonly<Record<string, Layout>> = {},
): Record<string, Operand> {
  return Object.fromEntries(
    Object.entries(sketch.roles).map(([name, { values = 'normal' }]) => {
      const drawn =
        typeof values === 'object' ? { below: shapes[values.belowSizeOf]!.at(values.axis) ?? 1 } : values;
      return [
        name,
        { dtype: dtypes[name]!, shape: shapes[name]!, layout: layouts[name] ?? 'dense', values: drawn },
      ];
    }),
  );
}

/** A case of a sketch. */
export function caseOf(
  sketch: OpSketch,
  dtypes: Dtypes,
  operands: Readonly<Record<string, Operand>>,
  seed: number,
): OpCase {
  const tolerance = sketch.tolerance?.(dtypes);
  const floor = sketch.floor?.(dtypes);
  return {
    operands,
    build: (tensors) => sketch.build(tensors),
    expected: (values) => sketch.expected(values, dtypes),
    dtype: sketch.result?.(dtypes) ?? 'F32',
    seed,
    ...(tolerance === undefined ? {} : { tolerance }),
    ...(floor === undefined ? {} : { floor }),
  };
}

/**
 * All cases of a sketch for one combination of dtypes: every shape, each operand in each layout that it
 * accepts while the others are dense, then all strided at once.
 */
export function* casesOf(sketch: OpSketch, dtypes: Dtypes): Generator<OpCase> {
  let seed = 1;
  for (const shapes of sketch.shapes) {
    const dense = operandsOf(sketch, dtypes, shapes);
    yield caseOf(sketch, dtypes, dense, seed++);
    const mostStrided: Record<string, Layout> = {};
    for (const [name, role] of Object.entries(sketch.roles)) {
      const layouts = acceptedLayouts(role, dense[name]!);
      mostStrided[name] = layouts[layouts.length - 1]!;
      for (const layout of layouts.slice(1))
        yield caseOf(sketch, dtypes, operandsOf(sketch, dtypes, shapes, { [name]: layout }), seed++);
    }
    if (Object.keys(sketch.roles).length > 1)
      yield caseOf(sketch, dtypes, operandsOf(sketch, dtypes, shapes, mostStrided), seed++);
  }
}
