import { leadingRows } from '../../diff/leading-columns.js';
import { withSameSpan } from '../../diff/visible-span.js';
import type { DumpView } from '../../dump/dump-view.js';
import type { TensorBatch } from '../../dump/reader.js';
import { ZayascopeError } from '../../errors.js';

/** Rows read at a time. */
const PART_ROWS = 64;

/**
 * The rows of a tap that all dumps hold, by sequence and position, in the order of the first; the same number
 * from each at a time. Rows have one shape, but for the last axis of a tap of which a dump holds the first
 * entries only.
 */
export async function* commonRows(dumps: readonly DumpView[], name: string): AsyncGenerator<TensorBatch[]> {
  const rows = await Promise.all(dumps.map((dump) => dump.rows(name)));
  const [first, ...others] = rows.map(({ sequence, position }) =>
    Array.from(position, (at, row) => `${sequence[row]} ${at}`),
  );
  const found = others.map((keys) => new Map(keys.map((key, row) => [key, row])));
  const at = (row: number) => [row, ...found.map((map) => map.get(first![row]!) ?? -1)];
  for (let row = 0; row < first!.length; ) {
    const starts = at(row);
    if (starts.includes(-1)) {
      row++;
      continue;
    }
    let count = 1;
    const follows = () => at(row + count).every((other, side) => other === starts[side]! + count);
    while (count < PART_ROWS && row + count < first!.length && follows()) count++;
    yield* readTogether(dumps, name, starts, count);
    row += count;
  }
}

async function* readTogether(
  dumps: readonly DumpView[],
  name: string,
  starts: readonly number[],
  count: number,
): AsyncGenerator<TensorBatch[]> {
  for (let done = 0; done < count; ) {
    const read = await Promise.all(
      dumps.map((dump, side) => dump.readRows(name, starts[side]! + done, starts[side]! + count)),
    );
    const parts = read.filter((part) => part !== undefined);
    if (parts.length < read.length) {
      done++;
      continue;
    }
    const together = Math.min(...parts.map(({ shape }) => shape[0]!));
    const cut = withSameSpan(parts.map((part) => leadingRows(part, together)));
    const prefixed = dumps.some(({ prefixes }) => prefixes.has(name));
    const size = ({ data, shape }: TensorBatch) => (prefixed ? data.length / shape.at(-1)! : data.length);
    if (cut.some((part) => size(part) !== size(cut[0]!)))
      throw new ZayascopeError(
        'UNPAIRED',
        `commonRows: expected rows of one shape, got ${cut.map(({ shape }) => `[${shape.slice(1)}]`).join(' and ')} (${name})`,
        { op: 'commonRows', tensor: name },
      );
    yield cut;
    done += together;
  }
}
