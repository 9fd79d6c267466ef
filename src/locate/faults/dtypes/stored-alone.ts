/**
 * Two dumps without a model: signs that the tested program's weights are stored in another type than the
 * reference's. What its products and the rows of its embedding err then is no fault, and cannot be told from
 * one without the file.
 */

import type { DumpView } from '../../../dump/dump-view.js';
import { toFloat32 } from '../../../dump/float.js';
import { UNKNOWN } from '../../../dump/import/foreign.js';
import { findArchitecture } from '../../../models/architectures.js';
import { exampleConfig } from '../../../models/example.js';
import { traceModel } from '../../../models/runtime/trace.js';
import { commonRows } from '../../noise/common-rows.js';
import { tapPlace } from '../../replay/tap-graph.js';
import { label } from '../notes.js';
import type { LocatedOp } from '../report.js';
import { isOnGrid } from './block-grids.js';
import { RoundingSums } from './rounding.js';
import { storedProducts } from './stored-types.js';

/** What is not judged, and why. */
export interface StoredAlone {
  /** Values of which no fault is told. */
  taps: ReadonlySet<string>;
  /** What to tell, and what to pass. */
  sentence: string;
}

/** Kinds of product that must all fail: fewer may have a fault each. */
const LEAST_KINDS = 3;
/** Energy NMSE that rounding to a type leaves in a product: from F16 to four bits. */
const ROUNDED = { least: 1e-9, most: 3e-2 } as const;
/** Products of one type err alike: the largest at most as many times the smallest. */
const SPREAD = 30;
/** Named is a type whose rounding of a product's input is within this factor of its error. */
const NEAR = 3;

/**
 * Signs of stored weights: rows of the embedding that lie on the grid of a type, where the reference's do
 * not; or products which all fail where they begin to be judged, by what rounding leaves, while all else
 * passes there. null where neither is seen.
 */
export async function storedAlone(
  reference: DumpView,
  tested: DumpView,
  ops: readonly LocatedOp[],
): Promise<StoredAlone | null> {
  const type = reference.manifest.model.type;
  if (tested.manifest.policy.name !== UNKNOWN || findArchitecture(type ?? '') === undefined) return null;
  const config = exampleConfig(type);
  const embedding = traceModel(config).taps[0]!.name;
  const isStored = storedProducts(config);
  const kinds = new Set([...traceModel(config).products.keys()].filter(isStored).map(suffixOf));
  const isProduct = ({ inside }: LocatedOp) => inside.some((tap) => kinds.has(suffixOf(tap)));
  const products = ops.filter(({ verdict }) => verdict === 'fault').filter(isProduct);
  const grid = ops.some(({ tap, verdict }) => tap === embedding && verdict === 'fault')
    ? await embeddingGrid(reference, tested, embedding)
    : null;
  if (grid !== null)
    return {
      taps: new Set([embedding, ...products.map(({ tap }) => tap)]),
      sentence: `The weights of ${label(tested)} appear to be stored as ${grid}: all rows of its embedding are such as that type holds, and the reference's are not. ${ADVICE}`,
    };
  const rounded = await roundedProducts(reference, ops, isProduct);
  return rounded === null
    ? null
    : {
        taps: new Set(rounded.taps),
        sentence: `The weights of ${label(tested)} appear to be stored ${rounded.type === null ? 'in a type of fewer bits' : `as ${rounded.type}`}: every product before which nothing is wrong (${rounded.kinds} kinds) errs by ${rounded.errors}, ${rounded.type === null ? 'as rounding leaves' : `as rounding their inputs to ${rounded.type} leaves`}, and nothing else does. ${ADVICE}`,
      };
}

const ADVICE =
  'What products err so is no fault, and what comes after them cannot be judged without the file: pass the GGUF that ran as --model.';

/** Of the ops whose inputs pass: products that all fail, by about as much, while all else passes. */
async function roundedProducts(
  reference: DumpView,
  ops: readonly LocatedOp[],
  isProduct: (op: LocatedOp) => boolean,
): Promise<{ taps: string[]; kinds: number; type: string | null; errors: string } | null> {
  const isInteger = new Set(reference.taps.filter(({ dtype }) => dtype === 'I32').map(({ name }) => name));
  // A choice of experts is judged by the run's own probabilities.
  const judged = ops.filter(({ tap, verdict }) => verdict !== 'not judged' && !isInteger.has(tap));
  const products = judged.filter(isProduct);
  const isFault = ({ verdict }: LocatedOp) => verdict === 'fault';
  const kinds = new Set(products.map(({ tap }) => suffixOf(tap)));
  if (kinds.size < LEAST_KINDS || !products.every(isFault)) return null;
  if (judged.some((op) => isFault(op) && !isProduct(op))) return null;
  const errors = products.map(({ cumulative }) => cumulative);
  const [least, most] = [Math.min(...errors), Math.max(...errors)];
  if (least < ROUNDED.least || most > ROUNDED.most || most > SPREAD * least) return null;
  const range = [least, most].map((error) => error.toExponential(1));
  return {
    taps: products.map(({ tap }) => tap),
    kinds: kinds.size,
    type: await inputRounding(reference, products),
    errors: range[0] === range[1] ? range[0]! : `${range[0]} to ${range[1]}`,
  };
}

/** The half-width type whose rounding of the products' inputs leaves what they err; null: neither. */
async function inputRounding(
  reference: DumpView,
  products: readonly LocatedOp[],
): Promise<'BF16' | 'F16' | null> {
  const held = new Set(reference.taps.map(({ name }) => name));
  const sums = new Map<string, RoundingSums>();
  for (const input of new Set(products.flatMap(({ inputs }) => inputs).filter((name) => held.has(name)))) {
    const own = new RoundingSums();
    sums.set(input, own);
    for await (const { data, dtype } of reference.stream(input)) own.add(toFloat32(data, dtype));
  }
  for (const dtype of ['BF16', 'F16'] as const) {
    const isNear = ({ inputs, cumulative }: LocatedOp) =>
      inputs.some((input) => {
        const rounding = sums.get(input)?.nmse()[dtype] ?? 0;
        return cumulative <= NEAR * rounding && cumulative >= rounding / NEAR;
      });
    if (products.every(isNear)) return dtype;
  }
  return null;
}

/** The type on whose grid the tested rows of the embedding lie and the reference's do not. */
async function embeddingGrid(reference: DumpView, tested: DumpView, name: string): Promise<string | null> {
  let left: readonly string[] | undefined;
  const onReference = new Map<string, boolean>();
  for await (const [a, b] of commonRows([reference, tested], name)) {
    const width = b!.shape.at(-1)!;
    const [right, other] = [toFloat32(a!.data, a!.dtype), toFloat32(b!.data, b!.dtype)];
    const fitting = isOnGrid(other, width);
    left = (left ?? fitting).filter((type) => fitting.includes(type));
    if (left.length === 0) return null;
    const ofReference = isOnGrid(right, width);
    for (const type of left)
      onReference.set(type, (onReference.get(type) ?? true) && ofReference.includes(type));
  }
  return left?.find((type) => onReference.get(type) === false) ?? null;
}

function suffixOf(tap: string): string {
  return tapPlace(tap).suffix;
}
