import { DTYPES } from '../../src/dtype.js';
import type { Shape } from '../../src/graph/shape.js';
import { caseOf, type OpSketch, operandsOf, titleOf } from './op-sketch.js';
import { canLie, LAYOUTS, type Layout } from './operand.js';
import { Random } from './random.js';
import { describeOperands, type OpCase } from './run-op.js';
import { SKETCHES } from './sketches.js';

/** A random combination of op, dtypes, shapes and layouts, valid or not. */
export interface RandomCase {
  sketch: OpSketch;
  test: OpCase;
  /** Op, arguments and operands in one line. */
  description: string;
}

/** The combination of this number: the ops take turns, everything else is drawn from the number. */
export function randomCase(number: number): RandomCase {
  const random = new Random(number);
  const sketch = SKETCHES[number % SKETCHES.length]!;
  const names = Object.keys(sketch.roles);
  const dtypes = Object.fromEntries(
    names.map((name) => [name, random.pick(random.chance(0.85) ? sketch.roles[name]!.dtypes : DTYPES)]),
  );
  const shapes: Record<string, Shape> = { ...random.pick(sketch.shapes) };
  while (random.chance(0.4)) {
    const name = random.pick(names);
    shapes[name] = changed(shapes[name]!, random);
  }
  const dense = operandsOf(sketch, dtypes, shapes);
  const layouts: Record<string, Layout> = {};
  for (const name of names)
    if (random.chance(0.5))
      layouts[name] = random.pick(LAYOUTS.filter((layout) => canLie(dense[name]!, layout)));
  const operands = operandsOf(sketch, dtypes, shapes, layouts);
  return {
    sketch,
    test: caseOf(sketch, dtypes, operands, number),
    description: `#${number} ${titleOf(sketch)}: ${describeOperands(operands)}`,
  };
}

function changed(shape: Shape, random: Random): Shape {
  const axis = random.integer(0, shape.length - 1);
  const size = shape[axis]!;
  return random.pick<() => Shape>([
    () => shape.with(axis, random.pick([1, 2, size + 1, size * 2, 32])),
    () => shape.with(axis, 1),
    () => (shape.length > 1 ? shape.toSpliced(axis, 1) : shape),
    () => (shape.length < 4 ? shape.toSpliced(axis, 0, random.integer(1, 3)) : shape),
  ])();
}
