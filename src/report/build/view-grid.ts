/** Pools two tensors and their difference into grids of a capped size, in one pass over their rows. */

/** Columns that a grid keeps where it shows every row. */
const ENOUGH_COLUMNS = 24;

/**
 * Rows and columns of a grid over `rows` x `width` elements that has at most `cells` cells; exact where both
 * are whole. Rows stay whole where that leaves 24 columns.
 */
export function gridShape(rows: number, width: number, cells: number): [rows: number, columns: number] {
  if (rows * width <= cells) return [rows, width];
  // Else a little wider than high, as screens are; what one side does not need goes to the other.
  const kept = rows * ENOUGH_COLUMNS <= cells ? rows : Math.min(rows, Math.floor(Math.sqrt(cells * 0.75)));
  const columns = Math.min(width, Math.floor(cells / kept));
  return [Math.min(rows, Math.floor(cells / columns)), columns];
}

/**
 * Grids of the reference, the tested side and their difference. A cell of the first two holds, for both
 * sides, the one element of its rectangle whose magnitude (on either side) is largest; a cell of
 * `difference` holds the largest tested − reference in magnitude, with its sign. What is not finite counts as
 * largest, so that pooling never hides it: in `difference`, NaN says that the two sides are not both finite
 * and not the same infinity. The same infinity on both sides is a difference of 0; NaN equals nothing.
 */
export class PooledGrids {
  readonly rows: number;
  readonly columns: number;
  /** Row-major, `rows` x `columns`. */
  readonly reference: Float32Array;
  readonly tested: Float32Array;
  readonly difference: Float32Array;
  /** 1 for cells that hold an element. */
  readonly filled: Uint8Array;
  readonly #total: number;
  readonly #columnOf: Int32Array;
  readonly #largest: Float32Array;
  readonly #largestDifference: Float32Array;

  /** @param total rows to come. @param width elements of a row. @param cells most cells of a grid. */
  constructor(total: number, width: number, cells: number) {
    [this.rows, this.columns] = gridShape(total, width, cells);
    this.#total = total;
    this.#columnOf = Int32Array.from({ length: width }, (_, at) => Math.floor((at * this.columns) / width));
    const size = this.rows * this.columns;
    this.reference = new Float32Array(size);
    this.tested = new Float32Array(size);
    this.difference = new Float32Array(size);
    this.filled = new Uint8Array(size);
    this.#largest = new Float32Array(size).fill(-1);
    this.#largestDifference = new Float32Array(size).fill(-1);
  }

  /** Row of the grid that shows row `row`. */
  gridRow(row: number): number {
    return Math.floor((row * this.rows) / this.#total);
  }

  /**
   * Adds `length` elements of row `row`, from element `from` of the row on; `a` of the reference and `b` of
   * the tested side, from element `at` of each.
   */
  add(row: number, from: number, a: Float32Array, b: Float32Array, at: number, length: number): void {
    const start = this.gridRow(row) * this.columns;
    for (let k = 0; k < length; k++) {
      const cell = start + this.#columnOf[from + k]!;
      const [x, y] = [a[at + k]!, b[at + k]!];
      const difference = y - x;
      this.filled[cell] = 1;
      if (Number.isFinite(difference)) {
        this.#take(cell, x, y, Math.max(Math.abs(x), Math.abs(y)));
        this.#takeDifference(cell, difference, Math.abs(difference));
        continue;
      }
      this.#take(cell, x, y, Number.POSITIVE_INFINITY);
      if (x === y) this.#takeDifference(cell, 0, 0);
      else this.#takeDifference(cell, Number.NaN, Number.POSITIVE_INFINITY);
    }
  }

  #take(cell: number, x: number, y: number, size: number): void {
    if (size <= this.#largest[cell]!) return;
    this.#largest[cell] = size;
    this.reference[cell] = x;
    this.tested[cell] = y;
  }

  #takeDifference(cell: number, difference: number, size: number): void {
    if (size <= this.#largestDifference[cell]!) return;
    this.#largestDifference[cell] = size;
    this.difference[cell] = difference;
  }
}
