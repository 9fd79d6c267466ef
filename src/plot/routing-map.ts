import type { Dump } from '../dump/reader.js';
import type { Figure, Trace } from './figure.js';
import { formatError, plainText, titled } from './log-values.js';
import { requireSome } from './require-some.js';
import { FAULT_COLOR } from './theme.js';

/** Options of {@link routingMap}. */
export interface RoutingMapOptions {
  title?: string;
  /** Sequence of the dumps. Default 0. */
  sequence?: number;
  /** Text of each token, for the hover. */
  tokenTexts?: readonly string[];
}

/** One colour an expert, repeated after twenty: neighbours differ. */
const EXPERT_COLORS = [
  '#4e79a7',
  '#f28e2b',
  '#59a14f',
  '#b6992d',
  '#499894',
  '#e15759',
  '#79706e',
  '#d37295',
  '#b07aa1',
  '#9d7660',
  '#a0cbe8',
  '#ffbe7d',
  '#8cd17d',
  '#f1ce63',
  '#86bcb6',
  '#ff9d9a',
  '#bab0ac',
  '#fabfd2',
  '#d4a6c8',
  '#d7b5a6',
];

/**
 * The expert that each token (x) takes in each block (y), and with a tested dump the tokens that took another one, marked, with the margin by which the reference's best was ahead.
 *
 * @throws `BAD_ARGUMENT` for a reference without `mlp.gate:expert` or without the sequence.
 */
export async function routingMap(
  reference: Dump,
  tested?: Dump,
  options: RoutingMapOptions = {},
): Promise<Figure> {
  const { sequence = 0 } = options;
  const taps = reference.taps.filter(({ name }) => name.endsWith('.mlp.gate:expert'));
  requireSome('routingMap', 'a dump that holds layers.*.mlp.gate:expert', taps.length);
  const marginOf = new Set(reference.taps.map(({ name }) => name).filter((name) => name.endsWith(':margin')));
  const held = new Set(tested?.taps.map(({ name }) => name));
  const tokens = reference.manifest.sequences[sequence]?.tokens ?? [];
  const z: number[][] = [];
  const details: string[][][] = [];
  let positions: number[] = [];
  const flips: { x: number; y: string; data: string[] }[] = [];
  for (const { name } of taps) {
    const own = await reference.read(name, { sequence });
    const marginTap = name.replace(/:expert$/, ':margin');
    const margins = marginOf.has(marginTap)
      ? (await reference.read(marginTap, { sequence })).data
      : undefined;
    const other = held.has(name) ? await tested!.read(name, { sequence }) : undefined;
    const otherAt = new Map(
      Array.from(other?.position ?? [], (position, row) => [position, other!.data[row]!]),
    );
    const block = name.split('.')[1]!;
    positions = Array.from(own.position);
    z.push(Array.from(own.data, Number));
    details.push(
      positions.map((position, row) => {
        const margin = margins === undefined ? 'unknown' : formatError(Number(margins[row]));
        const text = plainText(options.tokenTexts?.[position] ?? `id ${tokens[position]}`);
        const took = otherAt.get(position);
        if (took !== undefined && took !== own.data[row])
          flips.push({
            x: position,
            y: block,
            data: [name, String(own.data[row]), String(took), margin, text],
          });
        return [name, margin, text];
      }),
    );
  }
  const experts = Math.max(...z.flat()) + 1;
  const traces: Trace[] = [
    {
      type: 'heatmap',
      x: positions,
      y: taps.map(({ name }) => name.split('.')[1]!),
      z,
      zmin: -0.5,
      zmax: experts - 0.5,
      colorscale: steps(experts),
      customdata: details,
      hovertemplate:
        '%{customdata[0]}<br>token %{x} (%{customdata[2]}): expert %{z}<br>margin %{customdata[1]}<extra></extra>',
      colorbar: {
        title: { text: 'expert (the last is the skip class, where chosen)', side: 'right' },
        tickvals: Array.from({ length: experts }, (_, expert) => expert),
      },
      xgap: 0.5,
      ygap: 0.5,
    },
  ];
  if (flips.length > 0)
    traces.push({
      type: 'scatter',
      mode: 'markers',
      name: 'flipped',
      x: flips.map(({ x }) => x),
      y: flips.map(({ y }) => y),
      marker: { symbol: 'x', size: 11, color: '#ffffff', line: { color: FAULT_COLOR, width: 2 } },
      customdata: flips.map(({ data }) => data),
      hovertemplate:
        '%{customdata[0]}<br>token %{x} (%{customdata[4]}): expert %{customdata[1]} became %{customdata[2]}<br>margin %{customdata[3]}<extra>flipped</extra>',
      showlegend: false,
    });
  const title =
    options.title ??
    (tested === undefined ? 'Expert of each token' : 'Expert of each token, and what flipped');
  const choices = z.reduce((sum, row) => sum + row.length, 0);
  return {
    name: 'routing-map',
    title,
    description: `Experts of ${positions.length} tokens in ${taps.length} blocks; ${flips.length} of ${choices} choices flipped.`,
    data: traces,
    layout: {
      title: titled(title, tested === undefined ? '' : `${flips.length} of ${choices} choices flipped`),
      xaxis: { title: { text: 'token position' } },
      yaxis: { title: { text: 'block' }, type: 'category', autorange: 'reversed' },
    },
  };
}

/** A colour scale of flat steps. */
function steps(count: number): [number, string][] {
  return Array.from({ length: count }, (_, index): [number, string][] => {
    const color = EXPERT_COLORS[index % EXPERT_COLORS.length]!;
    return [
      [index / count, color],
      [(index + 1) / count, color],
    ];
  }).flat();
}
