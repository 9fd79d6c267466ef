import { changedExperts } from '../../diff/routing.js';
import { tokensWithoutScores } from '../../diff/routing-scores.js';
import type { DumpView } from '../../dump/dump-view.js';
import { toFloat64 } from '../../dump/float.js';
import { familyOf } from '../../dump/roles.js';
import { formatError } from '../../text-table.js';
import type { Figure } from '../figure.js';
import { titled } from '../log-values.js';
import { requireSome } from '../require-some.js';
import { FAULT_COLOR, NEUTRAL_COLOR } from '../theme.js';
import { type TokenMark, tokenMap, tokenMapLayout, tokenName } from '../token-map.js';

/** Options of {@link routingMap}. */
export interface RoutingMapOptions {
  title?: string;
  /** Sequence of the dumps. Default 0. */
  sequence?: number;
  /** Text of each token, for the hover. */
  tokenTexts?: readonly string[];
}

/**
 * One colour an expert, from the first again after sixteen. Grey is left to the skip class. Many of them look
 * alike to some readers: cells carry the number.
 */
export const EXPERT_COLORS = [
  '#4e79a7',
  '#f28e2b',
  '#59a14f',
  '#e15759',
  '#76b7b2',
  '#b07aa1',
  '#edc948',
  '#9c755f',
  '#a0cbe8',
  '#ffbe7d',
  '#8cd17d',
  '#ff9d9a',
  '#2f7f79',
  '#d4a6c8',
  '#8a6d00',
  '#d7b5a6',
];

interface TokenChoice {
  experts: readonly number[];
  /**
   * Experts that the tested side does not take, each with one that it takes instead; none where a side's
   * scores are not finite; undefined: not held.
   */
  changed: readonly (readonly [number, number])[] | undefined;
  /** True where a side made the choice from scores that are NaN or infinite: it is any expert. */
  unscored: boolean;
  margin: number | undefined;
}

/** What one block's router chose. */
interface BlockChoices {
  tap: string;
  block: string;
  /** By position; experts of a token with the likeliest first. */
  choices: Map<number, TokenChoice>;
}

/**
 * The expert that each token (x) takes in each block (y), and with a tested dump the tokens that took another
 * one, marked, with the margin by which the last expert taken was ahead of the next. Of several experts a
 * token the colour is that of the likeliest, the hover lists all, and their order is no flip. Choices that a
 * side made from scores that are NaN or infinite are blank and marked with a circle: they are any expert,
 * neither the same nor flipped. The skip class is grey.
 *
 * @throws `BAD_ARGUMENT` for a reference without taps of role `router.expert`, or without the sequence.
 */
export async function routingMap(
  reference: DumpView,
  tested?: DumpView,
  options: RoutingMapOptions = {},
): Promise<Figure> {
  const { sequence = 0 } = options;
  const rows = await readChoices(reference, tested, sequence);
  requireSome('routingMap', 'a dump that holds the experts of each token (role router.expert)', rows.length);
  const positions = [...new Set(rows.flatMap(({ choices }) => [...choices.keys()]))].sort((a, b) => a - b);
  const all = rows.flatMap(({ choices }) => [...choices.values()]);
  const flipped = all.reduce((sum, { changed }) => sum + (changed?.length ?? 0), 0);
  const choicesInAll = all.reduce((sum, { experts }) => sum + experts.length, 0);
  const lost = all.reduce((sum, { experts, unscored }) => sum + (unscored ? experts.length : 0), 0);
  const isOne = choicesInAll === all.length;
  const configured = Number(reference.manifest.model.config?.num_experts);
  const { hasSkipClass } = familyOf(reference.manifest);
  const skip = hasSkipClass && Number.isInteger(configured) ? configured : Number.POSITIVE_INFINITY;
  const classes =
    all.reduce(
      (most, { experts }) => Math.max(most, ...experts),
      skip === Number.POSITIVE_INFINITY ? 0 : skip,
    ) + 1;
  const named = (expert: number) => (expert === skip ? 'the skip class' : `expert ${expert}`);

  const token = tokenName(reference, sequence, options.tokenTexts);
  const flips: TokenMark[] = [];
  const unscored: TokenMark[] = [];
  const cells = rows.map(({ tap, block, choices }) =>
    positions.map((position) => {
      const choice = choices.get(position);
      if (choice === undefined) return { z: null, tap, hover: '' };
      const { experts, changed = [], margin } = choice;
      const hover = [
        `<b>${tap}</b>`,
        `block ${block}, token ${position} (${token(position)})`,
        ...(isOne && changed.length > 0 ? [] : [experts.map(named).join(', ')]),
        ...changed.map(([mine, other]) => `${named(mine)} became ${named(other)}`),
        ...(choice.unscored ? ['from scores that are NaN or infinite'] : []),
        ...(margin === undefined ? [] : [`ahead of the next best by ${formatError(margin)}`]),
      ].join('<br>');
      if (changed.length > 0) flips.push({ x: position, y: block, tap, hover });
      if (choice.unscored) unscored.push({ x: position, y: block, tap, hover });
      const label =
        choice.unscored || changed.length > 0 ? '' : experts[0] === skip ? '–' : String(experts[0]);
      return { z: choice.unscored ? null : experts[0]!, tap, hover, label };
    }),
  );
  const colors = {
    zmin: -0.5,
    zmax: classes - 0.5,
    colorscale: steps(classes, skip),
    colorbar: {
      title: { text: 'expert', side: 'right' },
      thickness: 16,
      tickvals: Array.from({ length: classes }, (_, expert) => expert),
      ticktext: Array.from({ length: classes }, (_, expert) => (expert === skip ? 'skip' : String(expert))),
    },
  };
  const data = tokenMap(
    positions,
    rows.map(({ block }) => block),
    cells,
    colors,
    [
      {
        name: 'flipped',
        symbol: { size: 11, color: '#ffffff', line: { color: FAULT_COLOR, width: 2 } },
        places: flips,
      },
      {
        name: 'of NaN or infinite scores',
        symbol: { size: 9, symbol: 'circle-open', color: FAULT_COLOR },
        places: unscored,
      },
    ],
  );
  const isCompared = all.some(({ changed }) => changed !== undefined);
  const what = isOne ? 'Expert of each token' : 'Likeliest expert of each token';
  const title = options.title ?? `${what}${isCompared ? ', and what flipped' : ''}`;
  return {
    name: 'routing-map',
    title,
    description: `Experts of ${positions.length} tokens in ${rows.length} blocks${isCompared ? `; ${flipped} of ${choicesInAll} choices flipped` : ''}${lost === 0 ? '' : `; ${lost} made from scores that are NaN or infinite`}.`,
    data,
    layout: {
      title: titled(
        title,
        isCompared ? `${flipped} of ${choicesInAll} choices flipped, marked ✕` : '',
        skip < classes ? '– is the skip class' : '',
        lost === 0 ? '' : `${lost} made from scores that are NaN or infinite, marked ○`,
      ),
      ...tokenMapLayout(
        positions,
        rows.map(({ block }) => block),
        options.tokenTexts,
      ),
    },
  };
}

async function readChoices(
  reference: DumpView,
  tested: DumpView | undefined,
  sequence: number,
): Promise<BlockChoices[]> {
  const rows: BlockChoices[] = [];
  const { roles } = reference;
  const experts = new Set(roles?.['router.expert']);
  const margins = new Set(roles?.['router.margin']);
  for (const { name, block, shape } of reference.taps) {
    if (block === null || shape.length > 1 || !experts.has(name)) continue;
    const own = await readByPosition(reference, name, sequence);
    requireSome('routingMap', `rows of sequence ${sequence} (${name})`, own.size);
    const others =
      tested === undefined ? new Map<number, number[]>() : await readByPosition(tested, name, sequence);
    const ofMargin = reference.taps.find((tap) => tap.block === block && margins.has(tap.name))?.name;
    const leads =
      ofMargin === undefined
        ? new Map<number, number[]>()
        : await readByPosition(reference, ofMargin, sequence);
    const lost: ReadonlySet<string>[] = [];
    for (const dump of tested === undefined ? [reference] : [reference, tested])
      lost.push(await tokensWithoutScores(dump, dump.roles ?? roles, block));
    const choices = [...own].map(([position, experts]): [number, TokenChoice] => {
      const other = others.get(position);
      const unscored = lost.some((tokens) => tokens.has(`${sequence} ${position}`));
      const changed = other === undefined ? undefined : unscored ? [] : changedExperts(experts, other);
      return [position, { experts, changed, margin: leads.get(position)?.[0], unscored }];
    });
    rows.push({ tap: name, block: String(block), choices: new Map(choices) });
  }
  return rows;
}

/** Rows of a tap by position, as computed last; empty where the dump lacks it or the sequence. */
async function readByPosition(
  dump: DumpView,
  name: string,
  sequence: number,
): Promise<Map<number, number[]>> {
  const values = new Map<number, number[]>();
  if (!dump.taps.some((tap) => tap.name === name)) return values;
  for await (const { data, dtype, position } of dump.stream(name, { sequence })) {
    const numbers = toFloat64(data, dtype);
    const width = numbers.length / position.length;
    for (const [row, at] of position.entries())
      values.set(at, [...numbers.subarray(row * width, (row + 1) * width)]);
  }
  return values;
}

/** A colour scale of flat steps. */
function steps(count: number, skip: number): [number, string][] {
  return Array.from({ length: count }, (_, index): [number, string][] => {
    const color = index === skip ? NEUTRAL_COLOR : EXPERT_COLORS[index % EXPERT_COLORS.length]!;
    return [
      [index / count, color],
      [(index + 1) / count, color],
    ];
  }).flat();
}
