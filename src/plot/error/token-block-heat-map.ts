import { leadingColumns } from '../../diff/leading-columns.js';
import { MetricSums } from '../../diff/metrics.js';
import type { DumpView } from '../../dump/dump-view.js';
import { toFloat32 } from '../../dump/float.js';
import type { TensorBatch } from '../../dump/reader.js';
import { ZayascopeError } from '../../errors.js';
import type { Figure } from '../figure.js';
import { logValues, plainText, titled } from '../log-values.js';
import { requireSome } from '../require-some.js';
import { SEQUENTIAL_SCALE } from '../theme.js';
import { type TokenMark, tokenMap, tokenMapLayout, tokenName } from '../token-map.js';

const OP = 'tokenBlockHeatMap';

/** Options of {@link tokenBlockHeatMap}. */
export interface TokenBlockOptions {
  title?: string;
  /** Tap without its block, e.g. `.self_attn.o_proj`. Default: the block's output. */
  kind?: string;
  /** Sequence of the dumps. Default 0. */
  sequence?: number;
  /** Text of each token, for the hover. */
  tokenTexts?: readonly string[];
}

/**
 * Energy NMSE of one value by token (x) and block (y), as log10 colours: at which tokens error arises, and
 * how it spreads to later ones. Reads two dumps, one block at a time. Cells that only one dump holds are
 * blank; NaN and infinity are marked.
 *
 * @throws `BAD_ARGUMENT` where the dumps share no block with that value or no row of the sequence; `UNPAIRED`
 * where its rows differ in size.
 */
export async function tokenBlockHeatMap(
  reference: DumpView,
  tested: DumpView,
  options: TokenBlockOptions = {},
): Promise<Figure> {
  const { kind = '', sequence = 0 } = options;
  const held = new Set(tested.taps.map(({ name }) => name));
  const taps = reference.taps.filter(
    ({ name, block, dtype }) => name === `layers.${block}${kind}` && dtype !== 'I32' && held.has(name),
  );
  requireSome(OP, `two dumps that hold layers.*${kind}`, taps.length);
  const rows: { tap: string; block: string; errors: Map<number, number> }[] = [];
  for (const { name, block } of taps) {
    const [whole, b] = [await reference.read(name, { sequence }), await tested.read(name, { sequence })];
    const columns = Math.min(whole.shape.at(-1)!, b.shape.at(-1)!);
    const a = tested.prefixes.has(name) ? leadingColumns(whole, columns) : whole;
    rows.push({ tap: name, block: String(block), errors: rowErrors(a, b) });
  }
  const positions = [...new Set(rows.flatMap(({ errors }) => [...errors.keys()]))].sort((a, b) => a - b);
  requireSome(OP, `rows that both dumps hold of sequence ${sequence}`, positions.length);

  const values = logValues(rows.map(({ errors }) => [...errors.values()]));
  const zeros = values.reduce((sum, each) => sum + each.zeros, 0);
  const lost = values.reduce((sum, each) => sum + each.nonFinite, 0);
  const paired = rows.reduce((sum, { errors }) => sum + errors.size, 0);
  const missing = rows.length * positions.length - paired;
  const token = tokenName(reference, sequence, options.tokenTexts);
  const marks: TokenMark[] = [];
  const cells = rows.map(({ tap, block, errors }, at) => {
    const places = new Map([...errors.keys()].map((position, index) => [position, index]));
    return positions.map((position) => {
      const index = places.get(position);
      const error = index === undefined ? 'not held by both' : `energy NMSE ${values[at]!.text[index]}`;
      const hover = `<b>${plainText(tap)}</b><br>block ${block}, token ${position} (${token(position)})<br>${error}`;
      const drawn = index === undefined ? null : values[at]!.drawn[index]!;
      if (index !== undefined && drawn === null) marks.push({ x: position, y: block, tap, hover });
      return { z: drawn === null ? null : Math.log10(drawn), tap, hover };
    });
  });
  const [zmin, zmax] = colorRange(cells.flatMap((row) => row.flatMap(({ z }) => z ?? [])));
  const beyond = cells.flatMap((row, at) =>
    row.flatMap(({ z, tap, hover }, column) =>
      z !== null && z > zmax ? [{ x: positions[column]!, y: rows[at]!.block, tap, hover }] : [],
    ),
  );
  const colors = {
    zmin,
    zmax,
    colorscale: SEQUENTIAL_SCALE,
    colorbar: { title: { text: 'energy NMSE, log10', side: 'right' }, thickness: 16 },
  };
  const data = tokenMap(
    positions,
    rows.map(({ block }) => block),
    cells,
    colors,
    [
      { name: 'NaN or infinite', symbol: { size: 9 }, places: marks },
      {
        name: 'beyond the colours',
        symbol: { size: 9, symbol: 'triangle-up', line: { width: 1, color: '#ffffff' } },
        places: beyond,
      },
    ],
  );
  const title =
    options.title ?? `Error by token and block${kind === '' ? '' : `: ${kind.replace(/^\./, '')}`}`;
  return {
    name: 'token-block-heat-map',
    title,
    description: `Energy NMSE of ${positions.length} tokens in ${rows.length} blocks as colours, on a logarithmic scale.`,
    data,
    layout: {
      title: titled(
        title,
        zeros > 0 ? `${zeros} exact zeros drawn darkest` : '',
        lost > 0 ? `${lost} NaN or infinite marked ✕` : '',
        beyond.length > 0 ? `${beyond.length} beyond the colours marked ▲` : '',
        missing > 0 ? `${missing} that not both hold left blank` : '',
      ),
      ...tokenMapLayout(
        positions,
        rows.map(({ block }) => block),
        options.tokenTexts,
      ),
    },
  };
}

/** Share of the cells whose colours differ; what is above has the colour of the top, and a mark. */
const [LOW, HIGH] = [0.02, 0.99];
/** Decades that a value must be above the quantile to be left out of the colours. */
const OUTLIER_DECADES = 1;

/** The range of colours: that of nearly all cells, so that one of them does not take the whole scale. */
function colorRange(values: readonly number[]): readonly [number, number] {
  const sorted = values.toSorted((a, b) => a - b);
  if (sorted.length === 0) return [0, 1];
  const at = (share: number) => sorted[Math.round(share * (sorted.length - 1))]!;
  const isOutlier = sorted.at(-1)! - at(HIGH) > OUTLIER_DECADES;
  const [low, high] = [at(LOW), isOutlier ? at(HIGH) : sorted.at(-1)!];
  return low < high ? [low, high] : [low, low + 1];
}

/**
 * Energy NMSE of each row that both hold, by position: a position that was computed twice counts as it was
 * computed last.
 */
function rowErrors(reference: TensorBatch, tested: TensorBatch): Map<number, number> {
  const [width, other] = [reference, tested].map(({ data, shape }) => data.length / shape[0]!);
  if (width !== other)
    throw new ZayascopeError(
      'UNPAIRED',
      `${OP}: expected rows of one size, got ${width} and ${other} elements (${reference.tap.name})`,
      { op: OP, tensor: reference.tap.name },
    );
  const [a, b] = [toFloat32(reference.data, reference.dtype), toFloat32(tested.data, tested.dtype)];
  const rowOf = new Map(Array.from(tested.position, (position, row) => [position, row]));
  const errors = new Map<number, number>();
  for (const [row, position] of reference.position.entries()) {
    const testedRow = rowOf.get(position);
    if (testedRow === undefined) continue;
    const sums = new MetricSums();
    sums.add(
      a.subarray(row * width!, (row + 1) * width!),
      b.subarray(testedRow * width!, (testedRow + 1) * width!),
    );
    errors.set(position, sums.metrics().nmse);
  }
  return errors;
}
