import { type TapElements, widen } from '../dump/float.js';
import type { TapDtype } from '../dump/format.js';
import type { TensorBatch } from '../dump/reader.js';
import { IntegerSums } from './integers.js';
import { MetricSums } from './metrics.js';
import type { TapPair } from './pairing.js';
import type { ElementPlace, FloatTapReport, IntegerTapReport } from './report.js';
import { coarserDtype, UlpSums } from './ulp.js';

/** Compares the values of one pair of taps, part by part, and remembers where the largest error stands. */
export interface TapComparison {
  /** Adds rows of both sides; same rows, same shape. */
  add(reference: TensorBatch, tested: TensorBatch): void;
  report(): FloatTapReport | IntegerTapReport;
}

/** The comparison that fits the dtypes of a pair. */
export function compareTap(pair: TapPair): TapComparison {
  return pair.reference.dtype === 'I32' ? new IntegerComparison(pair) : new FloatComparison(pair);
}

class FloatComparison implements TapComparison {
  readonly #pair: TapPair;
  readonly #sums = new MetricSums();
  readonly #ulp: UlpSums;
  #rows = 0;
  #elements = 0;
  #worst: ElementPlace | null = null;

  constructor(pair: TapPair) {
    this.#pair = pair;
    this.#ulp = new UlpSums(coarserDtype(pair.reference.dtype, pair.tested.dtype));
  }

  add(reference: TensorBatch, tested: TensorBatch): void {
    const a = asFloats(reference.data, reference.dtype, 0);
    const b = asFloats(tested.data, tested.dtype, 1);
    this.#sums.add(a, b);
    this.#ulp.add(a, b);
    const index = this.#sums.maxAbsIndex - this.#elements;
    if (index >= 0) this.#worst = placeOf(reference, index, a, b);
    this.#rows += reference.shape[0]!;
    this.#elements += a.length;
  }

  report(): FloatTapReport {
    const { maxAbsIndex: _, ...metrics } = this.#sums.metrics();
    const identical = metrics.bitEqual === 1;
    return {
      kind: 'float',
      ...baseOf(this.#pair, this.#rows, identical),
      metrics,
      worst: this.#worst,
      ulp: this.#ulp.distances(),
    };
  }
}

class IntegerComparison implements TapComparison {
  readonly #pair: TapPair;
  readonly #sums = new IntegerSums();
  readonly #first: ElementPlace[] = [];
  #rows = 0;

  constructor(pair: TapPair) {
    this.#pair = pair;
  }

  add(reference: TensorBatch, tested: TensorBatch): void {
    const a = reference.data as Int32Array;
    const b = tested.data as Int32Array;
    for (const index of this.#sums.add(a, b)) this.#first.push(placeOf(reference, index, a, b));
    this.#rows += reference.shape[0]!;
  }

  report(): IntegerTapReport {
    const metrics = this.#sums.metrics();
    return {
      kind: 'integer',
      ...baseOf(this.#pair, this.#rows, metrics.differing === 0),
      metrics,
      first: this.#first,
    };
  }
}

function baseOf({ reference, tested }: TapPair, rows: number, identical: boolean) {
  const dtypes = { reference: reference.dtype, tested: tested.dtype };
  return { name: reference.name, block: reference.block, dtypes, rows, identical };
}

function placeOf(
  { shape, sequence, position }: TensorBatch,
  flat: number,
  a: TapElements,
  b: TapElements,
): ElementPlace {
  const index: number[] = [];
  let rest = flat;
  for (let axis = shape.length - 1; axis > 0; axis--) {
    index.unshift(rest % shape[axis]!);
    rest = Math.floor(rest / shape[axis]!);
  }
  return {
    sequence: sequence[rest]!,
    position: position[rest]!,
    index,
    reference: a[flat]!,
    tested: b[flat]!,
  };
}

// Two: one per side, kept because a part of a few megabytes would otherwise be allocated for each.
const scratch = [new Float32Array(0), new Float32Array(0)];

function asFloats(data: TapElements, dtype: TapDtype, side: 0 | 1): Float32Array {
  if (data instanceof Float32Array) return data;
  if (scratch[side]!.length < data.length) scratch[side] = new Float32Array(data.length);
  return widen(data as Uint16Array, dtype, scratch[side]!);
}
