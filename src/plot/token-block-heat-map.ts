import { toFloat32 } from '../dump/float.js';
import type { Dump, TensorBatch } from '../dump/reader.js';
import type { Figure } from './figure.js';
import { formatError, plainText, titled } from './log-values.js';
import { requireSome } from './require-some.js';
import { SEQUENTIAL_SCALE } from './theme.js';

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
 * Energy NMSE of one value by token (x) and block (y), as log10 colours: at which tokens error arises, and how it spreads to later ones. Reads two dumps, one block at a time.
 *
 * @throws `BAD_ARGUMENT` where the dumps share no block with that value or no row of the sequence.
 */
export async function tokenBlockHeatMap(
  reference: Dump,
  tested: Dump,
  options: TokenBlockOptions = {},
): Promise<Figure> {
  const { kind = '', sequence = 0 } = options;
  const held = new Set(tested.taps.map(({ name }) => name));
  const taps = reference.taps.filter(
    ({ name, dtype }) =>
      /^layers\.\d+/.exec(name)?.[0] === name.slice(0, name.length - kind.length) &&
      name.endsWith(kind) &&
      dtype !== 'I32' &&
      held.has(name),
  );
  requireSome('tokenBlockHeatMap', `two dumps that hold layers.*${kind}`, taps.length);
  const rows: { tap: string; errors: Map<number, number> }[] = [];
  for (const { name } of taps) {
    const [a, b] = [await reference.read(name, { sequence }), await tested.read(name, { sequence })];
    rows.push({ tap: name, errors: rowErrors(a, b) });
  }
  const positions = [...new Set(rows.flatMap(({ errors }) => [...errors.keys()]))].sort((a, b) => a - b);
  requireSome('tokenBlockHeatMap', `rows that both dumps hold of sequence ${sequence}`, positions.length);
  const values = rows.map(({ errors }) => positions.map((position) => errors.get(position) ?? Number.NaN));
  const positive = values.flat().filter((value) => value > 0 && Number.isFinite(value));
  const least = positive.length === 0 ? 1e-16 : positive.reduce((a, b) => Math.min(a, b));
  const zeros = values.flat().filter((value) => value === 0).length;
  const lost = values.flat().filter((value) => !Number.isFinite(value)).length;
  const title = options.title ?? `Error by token and block${kind === '' ? '' : `: ${kind}`}`;
  const { tokens } = reference.manifest.sequences[sequence]!;
  return {
    name: 'token-block-heat-map',
    title,
    description: `log10 energy NMSE of ${positions.length} tokens in ${rows.length} blocks.`,
    data: [
      {
        type: 'heatmap',
        x: positions,
        y: rows.map(({ tap }) => tap.slice('layers.'.length).replace(kind, '')),
        z: values.map((row) =>
          row.map((value) => (Number.isFinite(value) ? Math.log10(Math.max(value, least / 10)) : null)),
        ),
        customdata: rows.map(({ tap }, at) =>
          positions.map((position, column) => [
            tap,
            values[at]![column] === 0 ? 'exactly 0' : formatError(values[at]![column]!),
            plainText(options.tokenTexts?.[position] ?? `id ${tokens[position]}`),
          ]),
        ),
        hovertemplate:
          '%{customdata[0]}, token %{x} (%{customdata[2]})<br>energy NMSE %{customdata[1]}<extra></extra>',
        colorscale: SEQUENTIAL_SCALE,
        colorbar: { title: { text: 'log10 NMSE', side: 'right' } },
        xgap: 0.5,
        ygap: 0.5,
      },
    ],
    layout: {
      title: titled(
        title,
        zeros > 0 ? `${zeros} exact zeros drawn darkest` : '',
        lost > 0 ? `${lost} NaN, infinite or missing left blank` : '',
      ),
      xaxis: { title: { text: 'token position' } },
      yaxis: { title: { text: 'block' }, type: 'category', autorange: 'reversed' },
    },
  };
}

/** Energy NMSE of each row that both hold, by position. A zero reference row: 0 where the tested one is zero too, else infinite. */
function rowErrors(reference: TensorBatch, tested: TensorBatch): Map<number, number> {
  const width = reference.data.length / reference.shape[0]!;
  const [a, b] = [toFloat32(reference.data, reference.dtype), toFloat32(tested.data, tested.dtype)];
  const rowOf = new Map(Array.from(tested.position, (position, row) => [position, row]));
  const errors = new Map<number, number>();
  for (let row = 0; row < reference.position.length; row++) {
    const other = rowOf.get(reference.position[row]!);
    if (other === undefined) continue;
    let [error, energy] = [0, 0];
    for (let k = 0; k < width; k++) {
      const value = a[row * width + k]!;
      error += (value - b[other * width + k]!) ** 2;
      energy += value * value;
    }
    errors.set(reference.position[row]!, error === 0 ? 0 : error / energy);
  }
  return errors;
}
