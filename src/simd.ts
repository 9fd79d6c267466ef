/**
 * Loops over elements in SIMD WebAssembly (`native/wasm`): they need neither the addon nor a compiler.
 * Every loop has a twin in TypeScript, which runs where the module is missing, and is its oracle.
 */
import { existsSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

/** Elements that a loop takes at a time: two sides of F32 fit the first-level cache. */
export const SIMD_RANGE = 4096;

// Bytes 0 to 1023 are for the module's constants and results.
const RESULTS = 256;
const HISTOGRAM = 512;
const SCRATCH = 1024;
const SIDE_BYTES = 4 * SIMD_RANGE;
/** Bits before they are widened, one slot for both sides. */
const BITS = SCRATCH + 2 * SIDE_BYTES;
/** What is left is lent to readers. */
const LENT = 4 * 65536;

/** The module's functions. */
interface Loops {
  memory: { buffer: ArrayBuffer };
  sumsF32(a: number, b: number, count: number, shift: number, out: number): void;
  widenBF16(from: number, to: number, count: number): void;
  widenF16(from: number, to: number, count: number): void;
  ulpF32(a: number, b: number, count: number, histogram: number): void;
  ulpBF16(a: number, b: number, count: number, histogram: number): void;
  ulpF16(a: number, b: number, count: number, histogram: number): void;
}

// TypeScript declares it in the browser's types alone.
declare const WebAssembly: {
  Module: new (bytes: Uint8Array) => object;
  Instance: new (module: object) => { exports: unknown };
};

/** The loops and their memory. */
export class Simd {
  readonly #loops: Loops;
  readonly #results: Float64Array;
  readonly #histogram: Uint32Array;
  readonly #sides: readonly [Float32Array, Float32Array];
  readonly #bits: Uint16Array;
  #isLent = false;

  constructor(bytes: Uint8Array) {
    this.#loops = new WebAssembly.Instance(new WebAssembly.Module(bytes)).exports as Loops;
    const { buffer } = this.#loops.memory;
    this.#results = new Float64Array(buffer, RESULTS, 12);
    this.#histogram = new Uint32Array(buffer, HISTOGRAM, 34);
    this.#sides = [
      new Float32Array(buffer, SCRATCH, SIMD_RANGE),
      new Float32Array(buffer, SCRATCH + SIDE_BYTES, SIMD_RANGE),
    ];
    this.#bits = new Uint16Array(buffer, BITS, SIMD_RANGE);
  }

  /**
   * Adds the sums of elements [start, end), at most {@link SIMD_RANGE}, to `sums` (the places are those of
   * `SUM` in `src/diff/kernels/sum-kernels.ts`; largest magnitudes are set), around `shift`. Elements that
   * are not finite make the squared error NaN or infinite. @returns the first element that was not done: up
   * to three are left.
   */
  addSums(
    a: Float32Array,
    b: Float32Array,
    start: number,
    end: number,
    shift: number,
    sums: Float64Array,
  ): number {
    const count = (end - start) & ~3;
    if (count === 0) return start;
    const [x, y] = [this.#place(a, start, count, 0), this.#place(b, start, count, 1)];
    this.#loops.sumsF32(x, y, count, shift, RESULTS);
    for (let k = 0; k < this.#results.length; k++) sums[k]! += this.#results[k]!;
    return start + count;
  }

  /**
   * Adds to `histogram` the pairs of elements [start, end), at most {@link SIMD_RANGE}, by their distance in
   * units in the last place of `dtype` (entries as in `src/diff/ulp.ts`).
   */
  countUlps(
    a: Float32Array,
    b: Float32Array,
    start: number,
    end: number,
    dtype: 'F32' | 'F16' | 'BF16',
    histogram: Float64Array,
  ): void {
    const count = end - start;
    const [x, y] = [this.#place(a, start, count, 0), this.#place(b, start, count, 1)];
    this.#histogram.fill(0);
    this.#loops[`ulp${dtype}`](x, y, count, HISTOGRAM);
    for (let k = 0; k < this.#histogram.length; k++) histogram[k]! += this.#histogram[k]!;
  }

  /**
   * F16 or BF16 bits, at most {@link SIMD_RANGE}, as F32 in memory that `side` keeps: it is valid until the
   * next call for that side.
   */
  widen(bits: Uint16Array, dtype: 'F16' | 'BF16', side: 0 | 1): Float32Array {
    this.#bits.set(bits);
    this.#loops[`widen${dtype}`](BITS, this.#sides[side].byteOffset, bits.length);
    return this.#sides[side].subarray(0, bits.length);
  }

  /**
   * Four regions of 4 MiB in the module's memory, from which elements need no copy; undefined while another
   * reader has them.
   */
  lend(): Uint8Array[] | undefined {
    if (this.#isLent) return undefined;
    this.#isLent = true;
    return [0, 1, 2, 3].map(
      (slot) => new Uint8Array(this.#loops.memory.buffer, LENT + slot * 2 ** 22, 2 ** 22),
    );
  }

  /** Takes the regions back. */
  giveBack(): void {
    this.#isLent = false;
  }

  /** Where elements lie in the module's memory, copied there if they do not yet. */
  #place(values: Float32Array, start: number, count: number, side: 0 | 1): number {
    if (values.buffer === this.#loops.memory.buffer) return values.byteOffset + 4 * start;
    const own = this.#sides[side];
    own.set(values.subarray(start, start + count));
    return own.byteOffset;
  }
}

let loaded: Simd | null | undefined;

/** The loops; null where `npm run build` has not compiled them. */
export function simd(): Simd | null {
  if (loaded === undefined) {
    // The same place seen from `src`, which tests run, and from `dist`.
    const file = fileURLToPath(new URL('../dist/wasm/loops.wasm', import.meta.url));
    loaded = existsSync(file) ? new Simd(readFileSync(file)) : null;
  }
  return loaded;
}
