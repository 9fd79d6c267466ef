import { canDequantise, dequantise } from '../dump/dequantise.js';
import {
  blockElements,
  dtypeKind,
  isExact,
  isQuantised,
  type TapDtype,
  tapBlockBytes,
} from '../dump/dtypes.js';
import { type TapElements, toBigInt64, toFloat64 } from '../dump/float.js';
import { isMasked } from '../dump/format.js';
import type { TensorBatch } from '../dump/reader.js';
import { widen } from '../dump/widen.js';
import { elementIndex } from '../element-index.js';
import { sameBytes } from '../same-bytes.js';
import { SIMD_RANGE, simd } from '../simd.js';
import { IntegerSums } from './integers.js';
import type { Floats } from './kernels/sum-kernels.js';
import { MetricSums } from './metrics.js';
import { nonFiniteCounts } from './non-finite.js';
import type { TapPair } from './pairing.js';
import type { ElementPlace, FloatTapReport, IntegerTapReport } from './report.js';
import { coarserDtype, UlpSums } from './ulp.js';

/** Rows of a part that cannot be compared, numbered from its first. */
export interface RowMisfit {
  reason: string;
  rows: readonly number[];
}

/** Compares the values of one pair of taps, part by part, and remembers where the largest error stands. */
export interface TapComparison {
  /** Adds rows of both sides; same rows, same shape. @returns those that cannot be compared. */
  add(reference: TensorBatch, tested: TensorBatch): RowMisfit | undefined;
  report(): FloatTapReport | IntegerTapReport;
}

/**
 * The comparison that fits the dtypes of a pair.
 * @param allowNonFinite what is not finite in the same way on both sides does not count against the tap.
 */
export function compareTap(pair: TapPair, allowNonFinite = false): TapComparison {
  const { dtype } = pair.reference;
  if (isExact(dtype)) return new IntegerComparison(pair);
  return isQuantised(dtype) && !canDequantise(dtype)
    ? new BlockComparison(pair)
    : new FloatComparison(pair, allowNonFinite);
}

/** Why values of two dtypes cannot be compared, or null. */
export function dtypeMisfit(a: TapDtype, b: TapDtype): string | null {
  const fits =
    isExact(a) || isExact(b)
      ? dtypeKind(a) === dtypeKind(b)
      : a === b || [a, b].every((dtype) => !isQuantised(dtype) || canDequantise(dtype));
  if (fits) return null;
  const opaque = [a, b].find((dtype) => isQuantised(dtype) && !canDequantise(dtype));
  const why = opaque === undefined || isExact(a) || isExact(b) ? '' : `: only ggml decodes ${opaque}`;
  return `has dtypes ${a} and ${b}${why}`;
}

class FloatComparison implements TapComparison {
  readonly #pair: TapPair;
  readonly #sums: MetricSums;
  readonly #ulp: UlpSums;
  readonly #allowed: boolean;
  readonly #masked: boolean;
  #rows = 0;
  #elements = 0;
  #worst: ElementPlace | null = null;
  #first: ElementPlace | null = null;

  constructor(pair: TapPair, allowNonFinite: boolean) {
    this.#pair = pair;
    this.#allowed = allowNonFinite;
    this.#masked = isMasked(pair.reference) || isMasked(pair.tested);
    this.#sums = new MetricSums({ allowNaN: allowNonFinite });
    this.#ulp = new UlpSums(coarserDtype(pair.reference.dtype, pair.tested.dtype));
  }

  add(reference: TensorBatch, tested: TensorBatch): undefined {
    for (const { start, a, b } of floatRanges(reference, tested)) {
      this.#sums.add(a, b);
      this.#ulp.add(a, b);
      const place = (flat: number) => placeOf(reference, start + flat, [a[flat]!, b[flat]!]);
      const worst = this.#sums.maxAbsIndex - this.#elements;
      if (worst >= 0) this.#worst = place(worst);
      const first = this.#sums.firstNonFinite - this.#elements;
      if (first >= 0 && first < a.length) this.#first = place(first);
      this.#elements += a.length;
    }
    this.#rows += reference.shape[0]!;
  }

  report(): FloatTapReport {
    const { maxAbsIndex: _, ...metrics } = this.#sums.metrics();
    const counts = nonFiniteCounts(metrics, { masked: this.#masked, allowed: this.#allowed });
    const identical = metrics.bitEqual === 1 && (counts === null || counts.counted + counts.allowed === 0);
    // Behind infinities that are allowed or masked, the first pair that counts is the first mismatch: the
    // largest error there is.
    const isAny = metrics.nonFinite === counts?.counted;
    const first = counts === null || counts.counted === 0 ? null : isAny ? this.#first : this.#worst;
    return {
      kind: 'float',
      ...baseOf(this.#pair, this.#rows, identical),
      nonFinite: counts === null ? null : { ...counts, first },
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

  add(reference: TensorBatch, tested: TensorBatch): undefined {
    const wide = reference.dtype === 'I64' || tested.dtype === 'I64';
    const [a, b] = [reference, tested].map(({ data, dtype }) => (wide ? toBigInt64(data, dtype) : data)) as [
      TapElements,
      TapElements,
    ];
    for (const index of this.#sums.add(a, b))
      this.#first.push(placeOf(reference, index, [a[index]!, b[index]!]));
    this.#rows += reference.shape[0]!;
  }

  report(): IntegerTapReport {
    const metrics = this.#sums.metrics();
    return {
      kind: 'integer',
      ...baseOf(this.#pair, this.#rows, metrics.differing === 0),
      nonFinite: null,
      metrics,
      first: this.#first,
    };
  }
}

/** Values whose blocks only ggml decodes: equal bytes are equal values, and of others nothing can be said. */
class BlockComparison implements TapComparison {
  readonly #pair: TapPair;
  #rows = 0;
  #bytes = 0;
  #differs = false;

  constructor(pair: TapPair) {
    this.#pair = pair;
  }

  add(reference: TensorBatch, tested: TensorBatch): RowMisfit | undefined {
    const [a, b] = [reference.data, tested.data] as [Uint8Array, Uint8Array];
    const rows = reference.shape[0]!;
    const width = a.length / rows;
    const differing: number[] = [];
    for (let row = 0; row < rows; row++)
      if (!sameBytes(a.subarray(row * width, (row + 1) * width), b.subarray(row * width, (row + 1) * width)))
        differing.push(row);
    this.#rows += rows - differing.length;
    this.#bytes += (rows - differing.length) * width;
    if (differing.length === 0) return undefined;
    this.#differs = true;
    const reason = `has ${reference.dtype} values that differ, and only ggml decodes them to say by how much`;
    return { reason, rows: differing };
  }

  report(): FloatTapReport {
    const { maxAbsIndex: _, ...metrics } = new MetricSums().metrics();
    const { dtype } = this.#pair.reference;
    const elements = (this.#bytes / tapBlockBytes(dtype)) * blockElements(dtype);
    return {
      kind: 'float',
      ...baseOf(this.#pair, this.#rows, !this.#differs),
      nonFinite: null,
      metrics: { ...metrics, elements },
      worst: null,
      ulp: new UlpSums('F32').distances(),
    };
  }
}

function baseOf({ reference, tested }: TapPair, rows: number, identical: boolean) {
  const dtypes = { reference: reference.dtype, tested: tested.dtype };
  return { name: reference.name, block: reference.block, dtypes, rows, identical: rows > 0 && identical };
}

function placeOf(
  { shape, sequence, position }: TensorBatch,
  flat: number,
  [left, right]: readonly [number | bigint, number | bigint],
): ElementPlace {
  const { index, row } = elementIndex(flat, shape.slice(1));
  const isRounded = [left, right].some(
    (value) => typeof value === 'bigint' && BigInt(Number(value)) !== value,
  );
  return {
    sequence: sequence[row]!,
    position: position[row]!,
    index,
    reference: Number(left),
    tested: Number(right),
    exact: isRounded ? { reference: String(left), tested: String(right) } : undefined,
  };
}

/** The same elements of both sides as floats, from element `start` of the part on. */
interface FloatRange {
  start: number;
  a: Floats;
  b: Floats;
}

/**
 * Both sides as F32, or as F64 where a side is. Sides of 16 bits are widened range by range, while they are
 * in the first-level cache; a range is valid until the next is asked for.
 */
function* floatRanges(reference: TensorBatch, tested: TensorBatch): Generator<FloatRange> {
  const dtypes = [reference.dtype, tested.dtype];
  if (dtypes.includes('F64'))
    yield {
      start: 0,
      a: toFloat64(reference.data, reference.dtype),
      b: toFloat64(tested.data, tested.dtype),
    };
  else {
    const [a, b] = [decoded(reference, 0), decoded(tested, 1)];
    const step = [a, b].every((side) => side instanceof Float32Array) ? a.length : SIMD_RANGE;
    for (let start = 0; start < a.length; start += step) {
      const end = Math.min(a.length, start + step);
      yield {
        start,
        a: singles(a, reference.dtype, 0, start, end),
        b: singles(b, tested.dtype, 1, start, end),
      };
    }
  }
}

// Two: one per side, kept because a part of a few megabytes would otherwise be allocated for each.
const scratch = [new Float32Array(0), new Float32Array(0)];

/** Elements as they are stored, blocks decoded. */
function decoded({ data, dtype }: TensorBatch, side: 0 | 1): Float32Array | Uint16Array {
  if (!isQuantised(dtype)) return data as Float32Array | Uint16Array;
  const length = (data.length / tapBlockBytes(dtype)) * blockElements(dtype);
  if (scratch[side]!.length < length) scratch[side] = new Float32Array(length);
  return dequantise(data as Uint8Array, dtype, scratch[side]!);
}

function singles(
  data: Float32Array | Uint16Array,
  dtype: TapDtype,
  side: 0 | 1,
  start: number,
  end: number,
): Float32Array {
  if (data instanceof Float32Array)
    return start === 0 && end === data.length ? data : data.subarray(start, end);
  const bits = data.subarray(start, end);
  const loops = simd();
  if (loops !== null) return loops.widen(bits, dtype as 'F16' | 'BF16', side);
  if (scratch[side]!.length < SIMD_RANGE) scratch[side] = new Float32Array(SIMD_RANGE);
  return widen(bits, dtype, scratch[side]!);
}
