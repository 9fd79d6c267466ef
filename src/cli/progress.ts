import type { SafeTerminal } from './safe-terminal.js';

/** A progress bar; see {@link progressBar}. */
export interface ProgressBar extends Disposable {
  update(done: number, total: number): void;
}

/** Redrawing more often only costs time. */
const REDRAW_MS = 50;

/**
 * A bar like `capture [#######-------]  5/10 segments` on its own line, redrawn in place and erased when
 * disposed. Draws nothing where notices do not go to a terminal.
 * @param unit plural noun of what is counted.
 */
export function progressBar(terminal: SafeTerminal, label: string, unit: string): ProgressBar {
  let drawnAt = Number.NEGATIVE_INFINITY;
  let isShown = false;
  const update = (done: number, total: number): void => {
    const now = performance.now();
    if (!terminal.isInteractive || (now - drawnAt < REDRAW_MS && done < total)) return;
    drawnAt = now;
    isShown = true;
    terminal.status(barLine(label, unit, done, total, terminal.columns));
  };
  const erase = (): void => {
    if (isShown) terminal.status('');
    isShown = false;
  };
  return { update, [Symbol.dispose]: erase };
}

/** The result of `work`, with a {@link progressBar} while it runs: `work` is given what draws it. */
export async function withProgress<T>(
  terminal: SafeTerminal,
  label: string,
  unit: string,
  work: (onProgress: ProgressBar['update']) => Promise<T>,
): Promise<T> {
  using bar = progressBar(terminal, label, unit);
  return await work(bar.update);
}

/** A {@link progressBar} for work of several parts: one bar at a time, labelled with the part under way. */
export function progressOfParts(
  terminal: SafeTerminal,
  unit: string,
): Disposable & { update(label: string, done: number, total: number): void } {
  let bar: ProgressBar | undefined;
  let shown: string | undefined;
  return {
    update(label, done, total) {
      if (label !== shown) {
        bar?.[Symbol.dispose]();
        bar = progressBar(terminal, label, unit);
        shown = label;
      }
      bar!.update(done, total);
    },
    [Symbol.dispose]: () => bar?.[Symbol.dispose](),
  };
}

function barLine(label: string, unit: string, done: number, total: number, columns: number): string {
  const count = `${String(done).padStart(String(total).length)}/${total} ${unit}`;
  // One column stays free: a full last column makes some terminals wrap.
  const width = Math.min(40, columns - label.length - count.length - 5);
  if (width < 4) return count.slice(0, columns - 1);
  const filled = total === 0 ? width : Math.floor((width * done) / total);
  return `${label} [${'#'.repeat(filled)}${'-'.repeat(width - filled)}] ${count}`;
}
