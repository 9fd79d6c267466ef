import { basename, resolve } from 'node:path';
import { toFloat32 } from '../dump/float.js';
import { Dump } from '../dump/reader.js';
import { familyOf } from '../dump/roles.js';
import type { OpName } from '../graph/ops.js';
import { add, geluErf, swiglu } from '../graph/ops-arithmetic.js';
import { mulMat, rope } from '../graph/ops-products.js';
import { argmax, argsort, l2Norm, rmsNorm, softMax } from '../graph/ops-rows.js';
import { elementCount, type Shape } from '../graph/shape.js';
import type { Tensor } from '../graph/tensor.js';
import { fewRows } from './model-shapes.js';
import { ALL, type Role, type Template } from './template.js';

/** An op whose operands a family shows as taps of a block (`operands` of its plain data). */
interface CapturedOp {
  op: OpName;
  /** Operands besides, by the shapes of the captured ones. */
  more?(shapes: Readonly<Record<string, Shape>>): Readonly<Record<string, Role & { shape: Shape }>>;
  build(tensors: Record<string, Tensor>): Tensor;
}

const CAPTURED: readonly CapturedOp[] = [
  { op: 'rmsNorm', build: ({ x }) => rmsNorm(x!, 2 ** -17) },
  { op: 'l2Norm', build: ({ x }) => l2Norm(x!, 2 ** -17) },
  {
    op: 'mulMat',
    more: ({ b }) => ({ a: { dtypes: ALL, shape: [fewRows(b!.at(-1)!), b!.at(-1)!] } }),
    build: ({ a, b }) => mulMat(a!, b!),
  },
  { op: 'add', build: ({ a, b }) => add(a!, b!) },
  { op: 'geluErf', build: ({ x }) => geluErf(x!) },
  { op: 'softMax', build: ({ x }) => softMax(x!) },
  { op: 'argmax', build: ({ x }) => argmax(x!) },
  { op: 'argsort', build: ({ x }) => argsort(x!, 'descending') },
  { op: 'swiglu', build: ({ x }) => swiglu(x!) },
  {
    op: 'rope',
    more: ({ x }) => ({ positions: { dtypes: ['I32'], values: 'positions', shape: [x![0]!] } }),
    build: ({ x, positions }) => rope(x!, positions!, 2 * Math.floor(x!.shape[2]! / 4), 5e6),
  },
];

/** Rows of a tap that are used. */
const MOST_ROWS = 16;

/**
 * Templates on what a dump captured: the first rows of the middle block. Ops whose taps the dump lacks are
 * left out.
 * @throws `IO`, `BAD_DUMP`, and `BAD_ARGUMENT` for a dump of another tier.
 */
export async function capturedTemplates(dir: string): Promise<Template[]> {
  await using dump = await Dump.open(dir);
  const names = new Set(dump.taps.map(({ name }) => name));
  const blocks = dump.taps.flatMap(({ name }) => /^layers\.(\d+)$/.exec(name)?.[1] ?? []).map(Number);
  const block = blocks[Math.floor(blocks.length / 2)];
  const templates: Template[] = [];
  const { operands } = familyOf(dump.manifest);
  for (const { op, more, build } of CAPTURED) {
    const taps = operands[op];
    if (taps === undefined) continue;
    const entries = Object.entries(taps).map(([role, tap]) => [role, `layers.${block}${tap}`] as const);
    if (!entries.every(([, tap]) => names.has(tap))) continue;
    const roles: Record<string, Role> = {};
    const shapes: Record<string, Shape> = {};
    for (const [role, tap] of entries) {
      const { shape, elements } = await firstRows(dump, tap);
      shapes[role] = shape;
      roles[role] = { dtypes: ['F32'], values: { elements } };
    }
    for (const [role, { shape, ...rest }] of Object.entries(more?.(shapes) ?? {})) {
      shapes[role] = shape;
      roles[role] = rest;
    }
    const from = `${basename(resolve(dir))} ${entries[0]![1]}`;
    templates.push({ op, roles, shapes: [{ from, shapes }], build, isCaptured: true });
  }
  return templates;
}

async function firstRows(dump: Dump, tap: string): Promise<{ shape: Shape; elements: Float32Array }> {
  const { data, dtype, shape } = (await dump.readRows(
    tap,
    0,
    Math.min(MOST_ROWS, (await dump.rows(tap)).position.length),
  ))!;
  const rows = Math.min(MOST_ROWS, shape[0]!);
  const own = [rows, ...shape.slice(1)];
  return { shape: own, elements: toFloat32(data, dtype).slice(0, elementCount(own)) };
}
