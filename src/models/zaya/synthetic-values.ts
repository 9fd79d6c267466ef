import { blockSize, type Dtype, ggmlType, sizeBytes } from '../../dtype.js';
import { native } from '../../native.js';

/**
 * Elements of a pool's normal numbers: enough that the rows drawn from it look independent, few enough to
 * quantise in a second.
 */
const POOL_ELEMENTS = 1 << 22;

/** Bytes of one piece of output. */
const PIECE_BYTES = 1 << 23;

/** A matrix of random values to write. */
export interface SyntheticMatrix {
  dtype: Dtype;
  rows: number;
  columns: number;
  /** Standard deviation of the values. */
  spread: number;
  /**
   * Assemble each row from single units, the first of them in turn, so that no two of the first 16,384 rows
   * are equal and others hardly ever; else neighbouring units are drawn together, which is faster.
   */
  distinctRows: boolean;
}

/**
 * Random matrices at the speed of a copy: normal numbers are quantised once for each dtype and spread, in
 * units of a few blocks, and every row is made of units drawn from that pool. A seed gives the same bytes
 * whatever else is drawn.
 */
export class SyntheticValues {
  readonly #normals: Float32Array;
  readonly #pools = new Map<string, Promise<Uint8Array>>();

  constructor(seed: number) {
    this.#normals = normals(POOL_ELEMENTS, uniform(seed));
  }

  /**
   * The matrix in pieces; a piece is overwritten when the next is asked for. `seed` decides which units are
   * drawn.
   */
  async *matrix(matrix: SyntheticMatrix, seed: number): AsyncGenerator<Uint8Array> {
    const { dtype, rows, columns, spread, distinctRows } = matrix;
    const unit = unitElements(dtype, columns);
    const pool = await this.#pool(dtype, unit, spread);
    const unitBytes = sizeBytes(dtype, unit);
    const units = pool.length / unitBytes;
    const perRow = columns / unit;
    const run = distinctRows ? 1 : perRow;
    const random = uniform(seed);
    const rowBytes = perRow * unitBytes;
    const piece = new Uint8Array(Math.max(1, Math.floor(PIECE_BYTES / rowBytes)) * rowBytes);
    for (let row = 0; row < rows; ) {
      const count = Math.min(piece.length / rowBytes, rows - row);
      for (let at = 0; at < count * rowBytes; at += run * unitBytes) {
        const isFirst = distinctRows && at % rowBytes === 0;
        const from = isFirst ? (row + at / rowBytes) % units : Math.floor(random() * (units - run + 1));
        piece.set(pool.subarray(from * unitBytes, (from + run) * unitBytes), at);
      }
      row += count;
      yield piece.subarray(0, count * rowBytes);
    }
  }

  #pool(dtype: Dtype, unit: number, spread: number): Promise<Uint8Array> {
    const key = `${dtype} ${unit} ${spread}`;
    let pool = this.#pools.get(key);
    if (pool === undefined) {
      const count = Math.floor(POOL_ELEMENTS / unit) * unit;
      const values = this.#normals.subarray(0, count).map((value) => value * spread);
      pool =
        dtype === 'F32'
          ? Promise.resolve(new Uint8Array(values.buffer))
          : native().quantize(values, ggmlType(dtype), unit, null);
      this.#pools.set(key, pool);
    }
    return pool;
  }
}

/** Elements drawn together: whole blocks, and a few hundred where the row allows it. */
function unitElements(dtype: Dtype, columns: number): number {
  for (const unit of [256, 32]) if (columns % unit === 0 && unit % blockSize(dtype) === 0) return unit;
  return columns;
}

/** Uniform numbers in [0, 1) from a seed (a 32-bit state advanced by a Weyl step and mixed). */
export function uniform(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x9e3779b9) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 16), 0x21f0aaad);
    mixed = Math.imul(mixed ^ (mixed >>> 15), 0x735a2d97);
    return ((mixed ^ (mixed >>> 15)) >>> 0) / 2 ** 32;
  };
}

/** Normal numbers of mean 0 and variance 1 (Box and Muller). */
export function normals(count: number, random: () => number): Float32Array {
  const values = new Float32Array(count);
  for (let i = 0; i < count; i += 2) {
    const radius = Math.sqrt(-2 * Math.log(1 - random()));
    const angle = 2 * Math.PI * random();
    values[i] = radius * Math.cos(angle);
    if (i + 1 < count) values[i + 1] = radius * Math.sin(angle);
  }
  return values;
}
