import { isQuantised } from '../../dump/dtypes.js';
import type { DumpView } from '../../dump/dump-view.js';
import { copyElements, emptyLike, type TapElements } from '../../dump/float.js';
import type { TapDtype } from '../../dump/format.js';
import type { TensorBatch } from '../../dump/reader.js';
import { unmet, ZayascopeError } from '../../errors.js';
import { elementCount, formatShape, type Shape } from '../../graph/shape.js';

/** A value of the first tokens of a sequence, as the dump stores it. */
export interface PrefixValue {
  dtype: TapDtype;
  shape: Shape;
  data: TapElements;
}

/**
 * Reads what a dump says about the first tokens of a sequence, as one call on all of them would have computed
 * it: rows of all steps are put together, and columns of attention weights that a row did not see yet are 0.
 *
 * @param shape of the whole value in such a call.
 * @throws `BAD_DUMP` where a position is missing, `SHAPE_MISMATCH` where rows have other sizes.
 */
export async function readPrefix(
  dump: DumpView,
  name: string,
  sequence: number,
  tokens: number,
  shape: Shape,
): Promise<PrefixValue> {
  const tap = dump.tap(name);
  if (tap.scope === 'step') return readFirstStep(dump, name, sequence, shape);
  if (isQuantised(tap.dtype))
    throw unmet('BAD_DUMP', 'repro', 'values of a plain dtype', tap.dtype, {
      where: `${name} in ${dump.dir}`,
      tensor: name,
    });
  const columns = shape[shape.length - 1]!;
  const row = elementCount(shape) / tokens;
  let data: TapElements | undefined;
  const has = new Uint8Array(tokens);
  for await (const part of dump.stream(name, { sequence })) {
    data ??= emptyLike(part.data, row * tokens);
    checkRows(name, part, shape, tap.shape.at(-1) === null);
    const own = tap.shape.length === 0 ? 1 : part.shape.at(-1)!;
    for (const [index, position] of part.position.entries()) {
      if (position < 0 || position >= tokens) continue;
      const values = part.data.subarray((index * part.data.length) / part.shape[0]!);
      if (own === columns || tap.shape.length === 0)
        copyElements(data, values.subarray(0, row), position * row);
      else
        for (let line = 0; line < row / columns; line++)
          copyElements(
            data,
            values.subarray(line * own, line * own + Math.min(own, columns)),
            position * row + line * columns,
          );
      has[position] = 1;
    }
  }
  const missing = has.indexOf(0);
  if (missing >= 0 || data === undefined)
    throw unmet(
      'BAD_DUMP',
      'repro',
      `the values of positions 0 to ${tokens - 1} of sequence ${sequence}`,
      `none of position ${Math.max(0, missing)}`,
      { where: `${name} in ${dump.dir}`, tensor: name },
    );
  return { dtype: tap.dtype, shape, data };
}

async function readFirstStep(
  dump: DumpView,
  name: string,
  sequence: number,
  shape: Shape,
): Promise<PrefixValue> {
  const rows = await dump.rows(name);
  const first = rows.sequence.indexOf(sequence);
  if (first < 0 || rows.position[first] !== 0)
    throw new ZayascopeError(
      'BAD_DUMP',
      `repro: expected a step that starts at position 0 of sequence ${sequence}, got ${first < 0 ? 'none' : `position ${rows.position[first]}`} (${name} in ${dump.dir})`,
      { op: 'repro', tensor: name },
    );
  const { data, dtype, shape: got } = await dump.read(name, { sequence, step: rows.step[first]! });
  if (data.length !== elementCount(shape)) throw misfit(name, shape, got);
  return { dtype, shape, data };
}

/** Rows must have the sizes of `shape`, but for a last axis that grows with the positions seen. */
function checkRows(name: string, part: TensorBatch, shape: Shape, grows: boolean): void {
  const inner = shape.slice(1);
  const fits =
    part.shape.length === shape.length &&
    part.shape.slice(1).every((size, axis) => size === inner[axis] || (grows && axis === inner.length - 1));
  if (!fits) throw misfit(name, shape, part.shape);
}

function misfit(name: string, expected: Shape, got: Shape): ZayascopeError {
  return unmet(
    'SHAPE_MISMATCH',
    'repro',
    `the rows of ${formatShape(expected)} in the dump`,
    formatShape(got),
    { where: name, tensor: name, shapes: [expected, got] },
  );
}
