import { describe, expect, it } from 'vitest';
import { blockSize, DTYPES, type Dtype } from '../../src/dtype.js';
import { ZayascopeError } from '../../src/errors.js';
import { Graph } from '../../src/graph/graph.js';
import type { OpName } from '../../src/graph/ops.js';
import { reshape } from '../../src/graph/ops-layout.js';
import { formatShape, type Shape } from '../../src/graph/shape.js';
import { hasContiguousRows, isPacked, type Tensor } from '../../src/graph/tensor.js';
import { BAD_ARGUMENTS, BAD_SHAPES, type BadCall } from './bad-calls.js';
import { dtypeCombinations, type OpSketch, titleOf } from './op-sketch.js';
import { canLie, LAYOUTS, type Layout, type Operand, viewInput } from './operand.js';
import { SKETCHES } from './sketches.js';

// Some sketches are about shapes that quantised types cannot have, which other sketches of the same op
// accept. A cast has a table of its own per target.
function isAccepted(sketch: OpSketch, role: string, dtype: Dtype): boolean {
  const alike = sketch.op === 'cast' ? [sketch] : SKETCHES.filter(({ op }) => op === sketch.op);
  return alike.some(({ roles }) => roles[role]?.dtypes.includes(dtype));
}

/** What building throws; undefined if it does not throw. */
function rejectionOf(make: () => unknown): ZayascopeError | undefined {
  try {
    make();
    return undefined;
  } catch (error) {
    if (error instanceof ZayascopeError) return error;
    throw error;
  }
}

/** Says what the error lacks: a code, the op, or the operands with tensors, shapes and dtypes. */
function flawOf(error: ZayascopeError | undefined, code: string, op: string): string | undefined {
  if (error === undefined) return 'accepted';
  const { message } = error;
  if (error.code !== code) return `code ${error.code}: ${message}`;
  if (error.op !== op || !message.startsWith(`${op}: `)) return `op ${error.op}: ${message}`;
  if (code === 'BAD_ARGUMENT')
    return message.includes(', got ') ? undefined : `says not what came: ${message}`;
  const parts = [error.tensor, ...(error.shapes ?? []).map(formatShape), ...(error.dtypes ?? [])];
  const named = error.tensor !== undefined && error.shapes?.length && error.dtypes?.length;
  const missing = parts.filter((part) => !message.includes(part!));
  return named && missing.length === 0 ? undefined : `lacks ${missing.join(', ') || 'operands'}: ${message}`;
}

/** Builds a sketch with some operands changed; the rest is dense and of the first accepted dtypes. */
function buildSketch(
  sketch: OpSketch,
  shapes: Readonly<Record<string, Shape>>,
  changes: Readonly<Record<string, Partial<Operand>>>,
  dtypes = dtypeCombinations(sketch)[0]!,
): { tensors: Record<string, Tensor>; error: ZayascopeError | undefined } {
  const graph = new Graph('rules');
  const tensors: Record<string, Tensor> = {};
  for (const role of Object.keys(sketch.roles))
    tensors[role] = viewInput(graph, role, { dtype: dtypes[role]!, shape: shapes[role]!, ...changes[role] });
  return { tensors, error: rejectionOf(() => sketch.build(tensors)) };
}

// Quantised rows need whole blocks: rows of 256 times the length, which the dtype rule does not look at.
function widen(shapes: Readonly<Record<string, Shape>>, dtype: Dtype): Record<string, Shape> {
  const factor = blockSize(dtype);
  return Object.fromEntries(
    Object.entries(shapes).map(([role, shape]) => [role, shape.with(-1, shape.at(-1)! * factor)]),
  );
}

for (const sketch of SKETCHES)
  describe(`the rule of ${titleOf(sketch)}`, () => {
    it('rejects every dtype that is not in the table', () => {
      const flaws: string[] = [];
      // What is contiguous already passes through `cont` as it is, whatever its dtype.
      const layout = sketch.op === 'cont' ? 'middle' : 'dense';
      const shapes = sketch.op === 'cont' ? { x: [2, 3, 5] } : sketch.shapes[0]!;
      const code = sketch.op === 'transpose' ? 'BAD_ARGUMENT' : 'DTYPE_UNSUPPORTED';
      for (const role of Object.keys(sketch.roles))
        for (const dtype of DTYPES.filter((candidate) => !isAccepted(sketch, role, candidate))) {
          const { error } = buildSketch(sketch, widen(shapes, dtype), { [role]: { dtype, layout } });
          const flaw = flawOf(error, code, sketch.op);
          if (flaw !== undefined) flaws.push(`${role} ${dtype}: ${flaw}`);
        }
      expect(flaws).toEqual([]);
    });

    it('rejects operands whose memory is not laid out as the op needs it', () => {
      const flaws: string[] = [];
      for (const shapes of sketch.shapes)
        for (const [role, { layout: need }] of Object.entries(sketch.roles))
          for (const layout of LAYOUTS) {
            const dtype = dtypeCombinations(sketch)[0]![role]!;
            if (!canLie({ dtype, shape: shapes[role]! }, layout)) continue;
            const { tensors, error } = buildSketch(sketch, shapes, { [role]: { layout } });
            if (fits(tensors[role]!, need)) continue;
            const flaw = flawOf(error, 'SHAPE_MISMATCH', sketch.op);
            if (flaw !== undefined) flaws.push(`${role} ${formatShape(shapes[role]!)} ${layout}: ${flaw}`);
            else if (!error!.message.includes('contiguous')) flaws.push(error!.message);
          }
      expect(flaws).toEqual([]);
    });

    const { pairs } = sketch;
    if (pairs !== undefined)
      it('rejects dtypes that are accepted only in other company', () => {
        const every = dtypeCombinations({ ...sketch, pairs: () => true });
        const foreign = every.filter((dtypes) => !pairs(dtypes));
        const flaws = foreign.map((dtypes) => {
          const { error } = buildSketch(sketch, sketch.shapes[0]!, {}, dtypes);
          return flawOf(error, 'DTYPE_UNSUPPORTED', sketch.op);
        });
        expect(foreign.length).toBeGreaterThan(0);
        expect(flaws.filter((flaw) => flaw !== undefined)).toEqual([]);
      });

    const [first, second] = Object.keys(sketch.roles);
    if (second !== undefined)
      it('rejects operands of different graphs', () => {
        const { tensors } = buildSketch(sketch, sketch.shapes[0]!, {});
        const { tensors: foreign } = buildSketch(sketch, sketch.shapes[0]!, {});
        const error = rejectionOf(() => sketch.build({ ...tensors, [first!]: foreign[first!]! }));
        expect(flawOf(error, 'BAD_ARGUMENT', sketch.op)).toBeUndefined();
      });
  });

// Whether the tests expect the op to take the tensor: reshape and cont alone look through strides of axes of
// size 1.
function fits(tensor: Tensor, need: 'any' | 'rows' | 'contiguous'): boolean {
  return need === 'any' || (need === 'rows' ? hasContiguousRows(tensor) : isPacked(tensor));
}

/** Builds each call in a graph of its own and collects what is wrong with its rejection. */
function flawsOf(calls: readonly BadCall[], code: string): string[] {
  return calls.flatMap(([title, op, build]) => {
    const graph = new Graph('rules');
    const make = (name: string, shape: Shape, dtype: Dtype = 'F32', layout: Layout = 'dense') =>
      viewInput(graph, name, { dtype, shape, layout });
    const flaw = flawOf(
      rejectionOf(() => build(make)),
      code,
      op,
    );
    return flaw === undefined ? [] : [`${title}: ${flaw}`];
  });
}

describe('shape rules', () => {
  it('reject shapes that do not fit, naming op, tensors, shapes and dtypes', () => {
    expect(flawsOf(BAD_SHAPES, 'SHAPE_MISMATCH')).toEqual([]);
  });

  it('reject requested shapes that are none', () => {
    for (const shape of [
      [-2, -3],
      [1.5, 4],
      [1, 1, 1, 2, 3],
    ]) {
      const x = new Graph('rules').input('x', 'F32', [6]);
      const error = rejectionOf(() => reshape(x, shape));
      expect(error).toMatchObject({ code: 'SHAPE_MISMATCH', op: 'reshape', shapes: [shape] });
      expect(error!.message).toContain(formatShape(shape));
    }
  });

  it('reject scalar arguments out of range, saying what came', () => {
    expect(flawsOf(BAD_ARGUMENTS, 'BAD_ARGUMENT')).toEqual([]);
  });

  it('are exercised for every op that has one', () => {
    const ops = new Set(BAD_SHAPES.map(([, op]) => op));
    const without: OpName[] = [
      'permute',
      'cont',
      'cast',
      'scale',
      'sqrt',
      'clamp',
      'silu',
      'gelu',
      'geluErf',
    ];
    const rows: OpName[] = ['mean', 'sumRows', 'rmsNorm', 'l2Norm', 'argsort'];
    const expected = SKETCHES.map(({ op }) => op).filter((op) => !without.includes(op) && !rows.includes(op));
    expect([...ops].sort()).toEqual([...new Set(expected)].sort());
  });
});
