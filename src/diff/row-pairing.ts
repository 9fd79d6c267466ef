import type { FileRows } from '../dump/reader.js';
import type { Unpaired } from './report.js';

/** Rows that follow each other on both sides. */
export interface RowRun {
  /** First row in the reference's file, and in the tested one's. */
  reference: number;
  tested: number;
  length: number;
}

/** Which rows of two files belong together. */
export interface RowPairing {
  runs: RowRun[];
  /** Without file name: the caller knows it. */
  unpaired: Omit<Unpaired, 'file' | 'tap'>[];
  /** Rows that a side's own selection left out. */
  notCaptured: { reference: number; tested: number };
}

/** Tells whether a side's selection left a position out. */
export type Excludes = (sequence: number, position: number) => boolean;

/**
 * Pairs rows by sequence and position. Unpaired: rows that one side lacks (unless its selection left them
 * out), rows whose token ids differ, and positions that a side holds twice, beyond the first.
 */
export function pairRows(
  reference: FileRows,
  tested: FileRows,
  excluded: { reference: Excludes; tested: Excludes },
): RowPairing {
  const unpaired = new UnpairedRows();
  const notCaptured = { reference: 0, tested: 0 };
  const places = new Map<number, number>();
  for (let row = 0; row < tested.position.length; row++) {
    const key = keyOf(tested, row);
    if (places.has(key)) unpaired.add('both', 'is held twice by the tested dump', tested, row);
    else places.set(key, row);
  }
  const runs: RowRun[] = [];
  const seen = new Set<number>();
  for (let row = 0; row < reference.position.length; row++) {
    const key = keyOf(reference, row);
    const other = places.get(key);
    if (seen.has(key)) {
      unpaired.add('both', 'is held twice by the reference', reference, row);
      continue;
    }
    seen.add(key);
    if (other === undefined) {
      if (excluded.tested(reference.sequence[row]!, reference.position[row]!)) notCaptured.tested++;
      else unpaired.add('tested', 'is missing', reference, row);
    } else if (reference.tokenId[row] !== tested.tokenId[other])
      unpaired.add(
        'both',
        `has different tokens, first ${reference.tokenId[row]} and ${tested.tokenId[other]}`,
        reference,
        row,
      );
    else appendRow(runs, row, other);
  }
  for (const [key, row] of places) {
    if (seen.has(key)) continue;
    if (excluded.reference(tested.sequence[row]!, tested.position[row]!)) notCaptured.reference++;
    else unpaired.add('reference', 'is missing', tested, row);
  }
  return { runs, unpaired: unpaired.list(), notCaptured };
}

/** Unpaired rows, gathered by side and reason. */
export class UnpairedRows {
  readonly #found = new Map<string, Omit<Unpaired, 'file' | 'tap'>>();

  add(
    side: Unpaired['side'],
    reason: string,
    rows: Pick<FileRows, 'sequence' | 'position'>,
    row: number,
  ): void {
    // Reasons that quote their first case stay one entry.
    const key = `${side} ${reason.replace(/, first .*/, '')}`;
    const known = this.#found.get(key);
    if (known !== undefined) known.rows++;
    else {
      const example = `sequence ${rows.sequence[row]} position ${rows.position[row]}`;
      this.#found.set(key, { side, reason, rows: 1, example });
    }
  }

  list(): Omit<Unpaired, 'file' | 'tap'>[] {
    return [...this.#found.values()];
  }
}

/** Positions are 32-bit, so both fit one exact double. */
function keyOf({ sequence, position }: FileRows, row: number): number {
  return sequence[row]! * 2 ** 32 + position[row]!;
}

function appendRow(runs: RowRun[], reference: number, tested: number): void {
  const last = runs.at(-1);
  if (
    last !== undefined &&
    last.reference + last.length === reference &&
    last.tested + last.length === tested
  )
    last.length++;
  else runs.push({ reference, tested, length: 1 });
}
