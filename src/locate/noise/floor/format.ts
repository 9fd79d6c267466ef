import type { DumpNoise, TapNoiseRuns } from '../../../dump/noise/noise-file.js';
import { formatError, rendered, textTable } from '../../../text-table.js';
import { bandOf } from './band.js';
import type { MeasuredNoise } from './measure.js';

/** Tokens that are listed. */
const MOST_FLIPS = 8;

/** What `noise-floor` has measured, for people: errors of each block's output, flips with their odds. */
export function formatNoise({ noise, elapsedMs }: MeasuredNoise, out: string): string {
  const { seeds, policy, reference, routing, tokens } = noise;
  const ms = (value: number) => (value < 1000 ? `${Math.round(value)} ms` : `${(value / 1000).toFixed(1)} s`);
  const against = reference === 'f32' ? 'the same model in F32' : reference;
  const head = [
    `floor    ${out}: ${seeds.length} runs of ${routing === null ? 'one kind' : 'each kind'}, seeds ${seeds[0]} to ${seeds.at(-1)}`,
    `rounds   ${policy}, up or down by chance; errors against ${against}, over ${tokens.length} tokens`,
    `bands    ${bandWords(noise)}`,
    `time     ${ms(elapsedMs.runs)} for the runs, ${ms(elapsedMs.reference)} for the reference, ${ms(elapsedMs.all)} in all`,
  ];
  return rendered([head, errorTable(noise), ...(routing === null ? [] : [flipLines(routing, seeds.length)])]);
}

/** What a band says, in words. */
export function bandWords({ band, seeds }: Pick<DumpNoise, 'band' | 'seeds'>): string {
  const inside = `${(100 * (1 - 2 * band)).toFixed(1).replace(/\.0$/, '')} %`;
  return band > 0.05
    ? `from the smallest to the largest run, in which ${inside} of further runs lie (5 to 95 % take ${19 - seeds.length} more)`
    : `from the 5 % to the 95 % quantile, in which ${inside} of further runs lie`;
}

/** The last value of each block. */
export function blockOutputs({ taps }: Pick<DumpNoise, 'taps'>): TapNoiseRuns[] {
  const last = new Map<string, TapNoiseRuns>();
  const first = taps.findIndex(({ block }) => block !== null);
  for (const [place, tap] of taps.entries())
    last.set(tap.block === null ? (place < first ? 'input' : 'output') : String(tap.block), tap);
  return [...last.values()];
}

function errorTable(noise: DumpNoise): string[] {
  const hasRouting = noise.routing !== null;
  const flips = new Map(noise.routing?.blocks.map((block) => [block.block, block]));
  const rows = blockOutputs(noise).map((tap) => {
    const counts = tap.block === null ? undefined : flips.get(tap.block);
    return [
      tap.block === null ? '' : String(tap.block),
      tap.tap,
      ...errorCells(tap.pinned, hasRouting),
      ...errorCells(tap.free, true),
      ...(hasRouting ? [counts === undefined ? '' : flipWords(counts.free)] : []),
    ];
  });
  const head = [
    'block',
    'last value',
    ...(hasRouting ? ['pinned', 'band', 'free', 'band', 'flips a run'] : ['NMSE', 'band']),
  ];
  return textTable([head, ...rows], hasRouting ? 'rlrlrll' : 'rlrl', false);
}

function errorCells(errors: readonly number[], shown: boolean): string[] {
  if (!shown) return [];
  const { low, median, high } = bandOf(errors);
  return [formatError(median), `${formatError(low)} to ${formatError(high)}`];
}

function flipWords(counts: readonly number[]): string {
  const mean = counts.reduce((sum, count) => sum + count, 0) / counts.length;
  return mean === 0 ? '0' : `${mean.toFixed(2)}, ${Math.min(...counts)} to ${Math.max(...counts)}`;
}

function flipLines({ blocks, flips }: NonNullable<DumpNoise['routing']>, runs: number): string[] {
  const total = Array.from({ length: runs }, (_, run) =>
    blocks.reduce((sum, { free }) => sum + free[run]!, 0),
  );
  const choices = blocks.reduce((sum, block) => sum + block.choices, 0);
  const likely = [...flips].sort((a, b) => b.pinned - a.pinned || b.free - a.free);
  const none = total.filter((count) => count === 0).length;
  return [
    `routing, free: ${flipWords(total)} of ${choices} choices flip in a run, none in ${none} of ${runs} runs`,
    ...likely
      .slice(0, MOST_FLIPS)
      .map(
        ({ block, sequence, position, pinned, free }) =>
          `  block ${block} ${sequence === 0 ? '' : `sequence ${sequence} `}position ${position}: flips in ${pinned} of ${runs} runs whose earlier choices are pinned, in ${free} free ones`,
      ),
    ...(likely.length > MOST_FLIPS ? [`  and ${likely.length - MOST_FLIPS} tokens more`] : []),
  ];
}
