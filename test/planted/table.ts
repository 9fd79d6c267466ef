/** The suite's outcomes as a table. */
import { grouped } from './grouped.js';
import { LEAST_CHANGED, type Outcome } from './judge.js';

/** What is counted of one kind of dump. */
export interface KindCount {
  kind: string;
  /** Faults whose changed value the dump holds, and how many of them are named first. */
  faults: number;
  right: number;
  /** Faults that change nothing there. */
  hidden: number;
  /** Right programs and unaltered models, and those that are accused: hidden faults count as such. */
  innocent: number;
  accused: number;
  /** Mean time of a case. */
  elapsedMs: number;
}

export function countKinds(outcomes: readonly Outcome[]): KindCount[] {
  return [...grouped(outcomes, ({ kind }) => kind)].map(([kind, of]) => {
    const faults = of.filter(({ isFault, changed }) => isFault && changed >= LEAST_CHANGED);
    const others = of.filter((each) => !faults.includes(each));
    return {
      kind,
      faults: faults.length,
      right: faults.filter(({ isRight }) => isRight).length,
      hidden: others.filter(({ isFault }) => isFault).length,
      innocent: others.length,
      elapsedMs: of.reduce((sum, { elapsedMs }) => sum + elapsedMs, 0) / of.length,
      accused: others.filter(({ isRight }) => !isRight).length,
    };
  });
}

export function formatKinds(counts: readonly KindCount[]): string {
  const lines = counts.map(({ kind, faults, right, hidden, innocent, accused, elapsedMs }) => {
    const share = faults === 0 ? '' : `${((100 * right) / faults).toFixed(1)} %`;
    const found = faults === 0 ? '' : `${right} of ${faults}`;
    return `${kind.padEnd(34)}${found.padStart(10)}${share.padStart(9)}${String(hidden).padStart(8)}${`${accused} of ${innocent}`.padStart(11)}${elapsedMs.toFixed(0).padStart(7)} ms`;
  });
  return [
    `${'kind of dump'.padEnd(34)}${'first'.padStart(10)}${''.padStart(9)}${'hidden'.padStart(8)}${'accused'.padStart(11)}${'a case'.padStart(10)}`,
    ...lines,
  ].join('\n');
}

/** One line of a case. */
export function formatOutcome({ kind, name, checkpoint, isRight, elapsedMs, says }: Outcome): string {
  return `${isRight ? 'right' : 'WRONG'} ${elapsedMs.toFixed(0).padStart(6)} ms  ${kind}: ${name} (${checkpoint})${isRight ? '' : `: ${says}`}\n`;
}
