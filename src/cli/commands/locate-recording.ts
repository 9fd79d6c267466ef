import { badArgument } from '../../errors.js';
import type { JudgedNode } from '../../recording/locate/locate.js';
import { nodeLabel } from '../../recording/node-label.js';
import type { CommandContext } from '../command-line.js';
import { toJson } from '../json.js';
import { withProgress } from '../progress.js';
import { runCancellable } from '../run-cancellable.js';
import { shellWord } from '../shell-word.js';
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
        formatLocatedRecording(verdict, {
          color: terminal.hasColor,
          all: options.all === true,
          next: (node) => nextCommand(second ?? first, verdict.ownWeights ? model : undefined, node),
        }),
      );
    if (verdict.found) context.exitWith(1);
  });
}

/** The node in a folder of its own, or where the weights that it ran with are not at hand, on the screen. */
function nextCommand(recording: string, model: string | undefined, { name, step, op }: JudgedNode): string {
  const label = nodeLabel(name, step);
  const args =
    model === undefined || op === 'INPUT'
      ? ['step', recording, '--break', label]
      : ['repro', recording, '--op', label, '--model', model, '--out', 'out/repro'];
  return ['zayascope', ...args].map(shellWord).join(' ');
}
