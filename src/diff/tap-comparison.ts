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
import { IntegerSums } from './integers.js';
import { MetricSums } from './metrics.js';
import { nonFiniteCounts } from './non-finite.js';
import type { TapPair } from './pairing.js';
import type { ElementPlace, FloatTapReport, IntegerTapReport } from './report.js';
import type { Floats } from './sum-kernels.js';
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
    const doubles = reference.dtype === 'F64' || tested.dtype === 'F64';
    const a = doubles
      ? toFloat64(reference.data, reference.dtype)
      : asFloats(reference.data, reference.dtype, 0);
    const b = doubles ? toFloat64(tested.data, tested.dtype) : asFloats(tested.data, tested.dtype, 1);
    this.#sums.add(a, b);
    this.#ulp.add(a, b);
    const index = this.#sums.maxAbsIndex - this.#elements;
    if (index >= 0) this.#worst = placeOf(reference, index, a, b);
    const first = this.#sums.firstNonFinite - this.#elements;
    if (first >= 0 && first < a.length) this.#first = placeOf(reference, first, a, b);
    this.#rows += reference.shape[0]!;
    this.#elements += a.length;
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
    for (const index of this.#sums.add(a, b)) this.#first.push(placeOf(reference, index, a, b));
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
  a: TapElements | Floats,
  b: TapElements | Floats,
): ElementPlace {
  const { index, row } = elementIndex(flat, shape.slice(1));
  const [left, right] = [a[flat]!, b[flat]!] as [number | bigint, number | bigint];
  const isRounded = [left, right].some(
    (value) => typeof value === 'bigint' && BigInt(Number(value)) !== value,
  );
  return {
    sequence: sequence[row]!,
    position: position[row]!,
    index,
    reference: Number(left),
    tested: Number(right),
    ...(isRounded ? { exact: { reference: String(left), tested: String(right) } } : {}),
  };
}

// Two: one per side, kept because a part of a few megabytes would otherwise be allocated for each.
const scratch = [new Float32Array(0), new Float32Array(0)];

function asFloats(data: TapElements, dtype: TapDtype, side: 0 | 1): Float32Array {
  if (data instanceof Float32Array) return data;
  const length = isQuantised(dtype)
    ? (data.length / tapBlockBytes(dtype)) * blockElements(dtype)
    : data.length;
  if (scratch[side]!.length < length) scratch[side] = new Float32Array(length);
  if (isQuantised(dtype)) return dequantise(data as Uint8Array, dtype, scratch[side]!);
  return widen(data as Uint16Array, dtype, scratch[side]!);
}
