/**
 * Plans an import on shapes alone: everything that can be wrong with names, shapes and dtypes shows before a
 * byte is written.
 */
import { ZayascopeError } from '../../errors.js';
import { isMasked, type TapInfo, type TapSpec } from '../format.js';
import { blockOfTap } from '../names/name-map.js';
import type { ResolvedTap } from '../names/resolve-names.js';
import { unusableError } from './file-values.js';
import { type ForeignValue, importError, tapDtypeOf } from './foreign.js';
import type { ImportStep } from './import-steps.js';
import { fitShape, guessTokenShape, type PlannedLayout, planLayout, squeezed } from './layout.js';

/** A tap to write. */
export interface PlannedTap {
  spec: TapSpec;
  /** The other program's name. */
  from: string;
  /** Per step; undefined where a tap of scope `step` has no value in it. */
  parts: (
    | {
        value: ForeignValue;
        layout: PlannedLayout;
        shape: readonly number[];
        /** Rows of the step that the value is of; undefined: all. */
        rows: readonly number[] | undefined;
      }
    | undefined
  )[];
}

/**
 * Plans one tap. @param target what the model says of it; undefined where that is not known: axes then have
 * no names.
 * @param lacksFrom the call from which on values may be missing; undefined: none may.
 * Throws `BAD_ARGUMENT` for a step without a value, for shapes and dtypes that do not fit the tap;
 * `SHAPE_MISMATCH` for a layout that does not fit.
 */
export function planTap(
  tap: ResolvedTap,
  steps: readonly ImportStep[],
  target: TapSpec | undefined,
  lacksFrom?: number,
): PlannedTap {
  const { name, from, rule } = tap;
  const prefix = rule?.prefix === true;
  const where = name === from ? name : `${from}, as ${name}`;
  const laid = tap.values.map((value, k) => {
    const { start, count, outputs } = steps[k]!;
    if (value === undefined) return undefined;
    if (value.unusable !== undefined) throw unusableError(value.unusable, value.origin ?? where);
    if (value.shape.includes(0))
      throw importError(
        'BAD_ARGUMENT',
        'a value with elements',
        `shape [${value.shape.join(', ')}]`,
        value.origin ?? where,
      );
    const transforms = [...(value.layout ?? []), ...(rule?.layout ?? [])];
    const plan = (tokens: number): PlannedLayout =>
      planLayout(value.shape, transforms, { tokens, visible: start + count, target: target?.shape }, where);
    // Late values have the rows alone of which logits were asked for.
    const isLate =
      value.rows === undefined &&
      outputs !== undefined &&
      (target ?? rule)?.scope !== 'step' &&
      !fits(() => plan(count), target, count, prefix) &&
      fits(() => plan(outputs.length), target, outputs.length, prefix);
    const rows = isLate ? outputs : value.rows;
    return { value, layout: plan(rows?.length ?? count), count: rows?.length ?? count, rows };
  });
  const dtypes = new Set(laid.flatMap((part) => (part === undefined ? [] : [tapDtypeOf(part.value.dtype)])));
  const [dtype] = dtypes;
  if (dtype === undefined || dtypes.size > 1)
    throw importError('BAD_ARGUMENT', 'one dtype in all steps', [...dtypes].join(', '), where);
  if (target !== undefined && (target.dtype === 'I32') !== (dtype === 'I32'))
    throw importError('BAD_ARGUMENT', target.dtype === 'I32' ? 'integers' : 'floating numbers', dtype, where);
  const asToken = (target?.scope ?? rule?.scope ?? 'token') === 'token';
  const shaped = asToken ? tokenShapes(laid, target?.shape, prefix) : stepShapes(laid, target?.shape);
  // A value that nobody has declared and that has no token axis is one per step.
  const fallback = shaped === undefined && target === undefined && rule === undefined;
  const shapes = fallback ? stepShapes(laid, undefined) : shaped;
  if (shapes === undefined) throw misfit(laid, target, steps, where);
  const scope = asToken && !fallback ? 'token' : 'step';
  const mayMiss = (k: number): boolean =>
    steps[k]!.outputs?.length === 0 || (lacksFrom !== undefined && steps[k]!.call >= lacksFrom);
  const missing = laid.findIndex((part, k) => part === undefined && !mayMiss(k));
  const nullable = scope === 'token' && laid.some((part) => part === undefined || part.rows !== undefined);
  if (scope === 'token' && missing >= 0)
    throw importError(
      'BAD_ARGUMENT',
      `a value in each of the ${steps.length} steps`,
      `none in step ${missing}`,
      where,
    );
  const own = shapes.filter((shape) => shape !== undefined);
  const perRow = own.map((shape) => (scope === 'token' ? shape.slice(1) : shape));
  const shape = target?.shape.includes(null) ? target.shape : commonShape(perRow);
  return {
    spec: {
      name,
      block: blockOfTap(name),
      dtype,
      scope,
      axes: target?.axes ?? axisNames(scope, shape.length),
      shape,
      ...(nullable ? { nullable } : {}),
      ...(rule?.masked || (target !== undefined && isMasked(target)) ? { masked: true } : {}),
    },
    from,
    parts: laid.map((part, k) =>
      part === undefined
        ? undefined
        : {
            value: part.value,
            layout: part.layout,
            shape: shapes[k]!,
            // What turns out to have no token axis is no row of the one token that asked for logits.
            rows: scope === 'token' ? part.rows : undefined,
          },
    ),
  };
}

type Laid =
  | { value: ForeignValue; layout: PlannedLayout; count: number; rows: readonly number[] | undefined }
  | undefined;
type Shapes = (readonly number[] | undefined)[];

/** True if a layout for so many tokens leads to a shape of the tap. */
function fits(
  plan: () => PlannedLayout,
  target: TapSpec | undefined,
  tokens: number,
  prefix: boolean,
): boolean {
  try {
    const { shape } = plan();
    return target === undefined
      ? guessTokenShape(shape, tokens) !== undefined
      : fitShape(shape, target.shape, tokens, prefix) !== undefined;
  } catch (error) {
    if (error instanceof ZayascopeError && error.code === 'SHAPE_MISMATCH') return false;
    throw error;
  }
}

/** Shapes [T, ...] of each step, all of one rank; undefined where a value does not fit. */
function tokenShapes(
  laid: readonly Laid[],
  target: TapInfo['shape'] | undefined,
  prefix: boolean,
): Shapes | undefined {
  let expected = target;
  if (expected === undefined) {
    // A step of one token hides axes of size 1: the longest step shows them.
    const longest = laid.reduce(
      (most, part) => ((part?.count ?? 0) > (most?.count ?? 0) ? part : most),
      undefined,
    );
    const guess = longest && guessTokenShape(longest.layout.shape, longest.count);
    if (guess === undefined) return undefined;
    expected = guess.slice(1);
  }
  const shapes: Shapes = [];
  for (const part of laid) {
    if (part === undefined) shapes.push(undefined);
    else {
      const { layout, count } = part;
      const fitted =
        fitShape(layout.shape, expected, count, prefix) ??
        // Nothing says that the sizes of an unknown value are the same in every step.
        (target === undefined
          ? fitShape(
              layout.shape,
              expected.map(() => null),
              count,
              false,
            )
          : undefined);
      if (fitted === undefined) return undefined;
      shapes.push(fitted);
    }
  }
  return shapes;
}

function stepShapes(laid: readonly Laid[], target: TapInfo['shape'] | undefined): Shapes | undefined {
  const rank = Math.max(
    1,
    ...laid.map((part) => (part === undefined ? 0 : squeezed(part.layout.shape).length)),
  );
  const shapes: Shapes = [];
  for (const part of laid) {
    if (part === undefined) {
      shapes.push(undefined);
      continue;
    }
    const fitted = fitShape(part.layout.shape, target ?? new Array<null>(rank).fill(null), null, false);
    if (fitted === undefined) return undefined;
    shapes.push(fitted);
  }
  return shapes;
}

/** Sizes that all steps share, null where they differ. */
function commonShape(shapes: readonly (readonly number[])[]): (number | null)[] {
  const [first] = shapes as [readonly number[]];
  return first.map((size, axis) => (shapes.every((shape) => shape[axis] === size) ? size : null));
}

function axisNames(scope: TapSpec['scope'], rank: number): string[] {
  const names = Array.from({ length: rank }, (_, k) => `axis${k + 1}`);
  return scope === 'token' ? ['T', ...names] : names;
}

function misfit(
  laid: readonly Laid[],
  target: TapSpec | undefined,
  steps: readonly ImportStep[],
  where: string,
): Error {
  const at = laid.findIndex((part) => part !== undefined);
  const { layout, count } = laid[at]!;
  const expectsRows = target?.scope !== 'step';
  const expected =
    target === undefined
      ? [count, '...']
      : [...(expectsRows ? [count] : []), ...target.shape.map((size) => size ?? 'any')];
  const rows = layout.shape.reduce((all, size) => all * size, 1);
  const perRow = target?.shape.reduce<number>((all, size) => all * (size ?? Number.NaN), 1) ?? Number.NaN;
  // A value that has all tokens differs in its sizes.
  const hasAllTokens = layout.shape.some((size, axis) => axis < layout.shape.length - 1 && size === count);
  const fewer = expectsRows && !hasAllTokens && rows % perRow === 0 && rows / perRow < count;
  const hint =
    hasAllTokens && target !== undefined
      ? `: ${count} tokens of another size than the config says. Pass the config.json of the model that ran, or the map that fits, with --config and --map`
      : fewer
        ? `: only ${rows / perRow} of ${count} tokens were computed here. Ask for the logits of every token (batch.logits[i] = true), or record which were asked for with begin(batch)`
        : steps.length > 1
          ? ' or the like in a later step'
          : '';
  return importError(
    'BAD_ARGUMENT',
    `shape [${expected.join(', ')}]`,
    `[${layout.shape.join(', ')}]${hint}`,
    where,
  );
}
