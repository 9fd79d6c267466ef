import { badArgument } from '../../errors.js';
import type { CommandContext } from '../command-line.js';
import { toJson } from '../json.js';
import { withProgress } from '../progress.js';
import { runCancellable } from '../run-cancellable.js';
import type { LocateCommandOptions } from './locate.js';

/** Options that mean nothing for a recording. */
const OTHERS = ['policy', 'noise', 'map', 'order', 'failAbove', 'strictF32'] as const;

/** `zayascope locate` of a recording, by itself or by a reference recording. */
export async function runLocateRecording(
  first: string,
  second: string | undefined,
  options: LocateCommandOptions,
  context: CommandContext,
): Promise<void> {
  const { terminal } = context;
  const { model, backend, threads } = options;
  if (model === undefined)
    throw badArgument('locate', "--model with the GGUF file that ran, or the reference's", 'none');
  const other = OTHERS.find((name) => options[name] !== undefined);
  if (other !== undefined)
    throw badArgument(
      'locate',
      'options of recordings (--model, --backend, --threads, --all, --json)',
      `--${other.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)}`,
    );
  const { locateRecording } = await import('../../recording/locate/locate.js');
  const { formatLocatedRecording } = await import('../../recording/locate/format.js');
  await runCancellable(context, async (signal) => {
    const verdict = await withProgress(terminal, 'locate', 'nodes', (onProgress) =>
      locateRecording({
        recording: second ?? first,
        reference: second === undefined ? undefined : first,
        model,
        backend,
        threads,
        signal,
        onProgress,
      }),
    );
    if (options.json) terminal.result(toJson(verdict));
    else
      terminal.styledResult(
        formatLocatedRecording(verdict, { color: terminal.hasColor, all: options.all === true }),
      );
    if (verdict.found) context.exitWith(1);
  });
}
