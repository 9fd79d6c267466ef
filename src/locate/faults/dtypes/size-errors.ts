/** Sign, exponent and the first bit of the mantissa of an F32: half an octave. */
const BITS = 10;
const SHIFT = 32 - BITS;

// Of the rows that are being added; all 0 in between.
const counts = new Float64Array(2 ** BITS);
const sums = new Float64Array(2 ** BITS);
const squares = new Float64Array(2 ** BITS);

/** Sums errors by the size of the right value, in bins of half an octave for each sign. */
export class SizeErrors {
  readonly #bins = new Map<number, { count: number; sum: number; squares: number }>();

  /** Adds the right values and the others. What is not finite is left out. */
  add(right: Float32Array, other: Float32Array): void {
    const words = new Uint32Array(right.buffer, right.byteOffset, right.length);
    const touched: number[] = [];
    for (let k = 0; k < right.length; k++) {
      const error = other[k]! - right[k]!;
      if (error - error !== 0) continue;
      const bin = words[k]! >>> SHIFT;
      if (counts[bin] === 0) touched.push(bin);
      counts[bin]!++;
      sums[bin]! += error;
      squares[bin]! += error * error;
    }
    for (const bin of touched) {
      const known = this.#bins.get(bin) ?? { count: 0, sum: 0, squares: 0 };
      this.#bins.set(bin, known);
      known.count += counts[bin]!;
      known.sum += sums[bin]!;
      known.squares += squares[bin]!;
      for (const bins of [counts, sums, squares]) bins[bin] = 0;
    }
  }

  /** Energy of the means of the bins, and what it would be of errors without any system. */
  energies(): { systematic: number; expected: number } {
    const energies = { systematic: 0, expected: 0 };
    for (const { count, sum, squares } of this.#bins.values()) {
      energies.systematic += (sum * sum) / count;
      energies.expected += squares / count;
    }
    return energies;
  }
}
