import { isExact } from '../dump/dtypes.js';
import type { DumpView } from '../dump/dump-view.js';
import { hasNumbers, numberAt, toFloat64 } from '../dump/float.js';
import type { TensorBatch } from '../dump/reader.js';
import type { DumpRoles } from '../dump/roles.js';
import { tokenKey, tokensWithoutScores } from './routing-scores.js';

/** Flips beyond this many are counted, not listed. */
const MAX_FLIPS = 1000;

/** Where a token took another expert. */
export interface TokenFlip {
  block: number;
  sequence: number;
  position: number;
  /** Experts; the number of experts, E, stands for the skip class. */
  reference: number;
  tested: number;
}

/** A token whose expert differs. */
export interface ExpertFlip extends TokenFlip {
  /**
   * Lead of the reference's choice over the tested one in the reference's scores, the tap of role
   * `router.probabilities`. Where its dump lacks that: its lead over the next best (role `router.margin`),
   * which is the least that the other may be. null where it has neither.
   */
  margin: number | null;
  /** True where `margin` is that least. */
  marginIsLeast: boolean;
}

/** Which experts the tokens took. */
export interface RoutingReport {
  /** Choices compared: tokens times blocks, times the experts that each takes. */
  choices: number;
  /** Share of choices that are the same; 1 without any. */
  same: number;
  flipped: number;
  /**
   * Choices that a side made from scores that are not finite: neither the same nor flipped, for the largest
   * of them is any expert.
   */
  nonFinite: number;
  /** The first of those in execution order; null where there is none. */
  firstNonFinite: { block: number; sequence: number; position: number } | null;
  /** In execution order; blocks without a flip have 0. */
  blocks: { block: number; choices: number; flipped: number; nonFinite: number }[];
  /** The first flips in execution order, at most 1000. */
  flips: ExpertFlip[];
}

/** Accumulates a {@link RoutingReport}. */
export class RoutingComparison {
  readonly #blocks = new Map<number, { choices: number; flipped: number; nonFinite: number }>();
  readonly #unscored = new Map<number, readonly ReadonlySet<string>[]>();
  #firstNonFinite: RoutingReport['firstNonFinite'] = null;
  readonly #flips: (ExpertFlip & { row: number })[] = [];

  /** Looks for scores that are not finite, before a block's choices are added. */
  async prepare(block: number, dumps: readonly DumpView[], roles: DumpRoles | undefined): Promise<void> {
    const found: ReadonlySet<string>[] = [];
    for (const dump of dumps) found.push(await tokensWithoutScores(dump, roles, block));
    this.#unscored.set(block, found);
  }

  /** Adds rows of a block's chosen experts; `row` is the first row's number in the reference's file. */
  add(block: number, row: number, reference: TensorBatch, tested: TensorBatch): void {
    let counts = this.#blocks.get(block);
    if (counts === undefined) {
      counts = { choices: 0, flipped: 0, nonFinite: 0 };
      this.#blocks.set(block, counts);
    }
    counts.choices += reference.data.length;
    const rows = reference.shape[0]!;
    const width = reference.data.length / rows;
    const unscored = this.#unscored.get(block) ?? [];
    for (let k = 0; k < rows; k++) {
      if (unscored.some((tokens) => tokens.size > 0 && tokens.has(tokenKey(reference, k)))) {
        counts.nonFinite += width;
        const [sequence, position] = [reference.sequence[k]!, reference.position[k]!];
        this.#firstNonFinite ??= { block, sequence, position };
        continue;
      }
      for (const [mine, other] of changedExperts(
        expertsOf(reference, k, width),
        expertsOf(tested, k, width),
      )) {
        counts.flipped++;
        if (this.#flips.length < MAX_FLIPS)
          this.#flips.push({
            block,
            sequence: reference.sequence[k]!,
            position: reference.position[k]!,
            reference: mine,
            tested: other,
            margin: null,
            marginIsLeast: false,
            row: row + k,
          });
      }
    }
  }

  /** The report, with margins read from the reference dump. */
  async report(reference: DumpView): Promise<RoutingReport | null> {
    if (this.#blocks.size === 0) return null;
    const flips: ExpertFlip[] = [];
    for (const { row, ...flip } of this.#flips)
      flips.push({ ...flip, ...(await readMargin(reference, flip, row)) });
    const blocks = [...this.#blocks].map(([block, counts]) => ({ block, ...counts }));
    const choices = blocks.reduce((sum, block) => sum + block.choices, 0);
    const flipped = blocks.reduce((sum, block) => sum + block.flipped, 0);
    const nonFinite = blocks.reduce((sum, block) => sum + block.nonFinite, 0);
    const same = choices === 0 ? 1 : 1 - (flipped + nonFinite) / choices;
    return { choices, same, flipped, nonFinite, firstNonFinite: this.#firstNonFinite, blocks, flips };
  }
}

function expertsOf({ data }: TensorBatch, row: number, width: number): number[] {
  return Array.from({ length: width }, (_, k) => numberAt(data, row * width + k));
}

/**
 * Experts of the reference that the tested side does not take, each with one that it takes instead. Their
 * order does not matter.
 */
export function changedExperts(mine: readonly number[], others: readonly number[]): [number, number][] {
  const instead = others.filter((expert) => !mine.includes(expert));
  return mine
    .filter((expert) => !others.includes(expert))
    .map((expert, place) => [expert, instead[place] ?? others[0]!]);
}

/** The margin of a flip at a row of the block's file. */
async function readMargin(
  dump: DumpView,
  { block, reference, tested }: Pick<ExpertFlip, 'block' | 'reference' | 'tested'>,
  row: number,
): Promise<Pick<ExpertFlip, 'margin' | 'marginIsLeast'>> {
  const valuesOf = async (role: 'router.probabilities' | 'router.margin') => {
    const names = new Set(dump.roles?.[role]);
    const tap = dump.taps.find((each) => names.has(each.name) && each.block === block);
    if (tap === undefined || isExact(tap.dtype) || tap.scope !== 'token' || !hasNumbers(tap.dtype))
      return undefined;
    const batch = await dump.readRows(tap.name, row, row + 1);
    return batch === undefined ? undefined : toFloat64(batch.data, batch.dtype);
  };
  const scores = await valuesOf('router.probabilities');
  const [own, other] = [scores?.[reference], scores?.[tested]];
  if (own !== undefined && other !== undefined) return { margin: own - other, marginIsLeast: false };
  const lead = await valuesOf('router.margin');
  return lead?.length === 1
    ? { margin: lead[0]!, marginIsLeast: true }
    : { margin: null, marginIsLeast: false };
}
