import { badArgument } from '../../errors.js';
import type { CommandContext } from '../command-line.js';
import { toJson } from '../json.js';
import { noticePartial } from '../partial-notice.js';
import { withProgress } from '../progress.js';
import { runCancellable } from '../run-cancellable.js';
import type { LocateCommandOptions } from './locate.js';

/** `zayascope locate --align`: a recording by a reference of any program. */
export async function runLocateAligned(
  reference: string,
  recording: string | undefined,
  { model, failAbove, backend, threads, map, policy, noise, json, all }: LocateCommandOptions,
  context: CommandContext,
): Promise<void> {
  const { terminal } = context;
  if (recording === undefined) throw badArgument('locate', 'a recording as TESTED with --align', 'none');
  if (map !== undefined || policy !== undefined || noise !== undefined)
    throw badArgument('locate', '--align without --map, --policy and --noise', 'one of them');
  const { isRecording } = await import('../../recording/replay/open-recording.js');
  if (!(await isRecording(recording)))
    throw badArgument(
      'locate',
      'a recording of zayascope record with --align',
      'a dump without a graph',
      recording,
    );
  const { locateAligned } = await import('../../align/locate/locate-aligned.js');
  const { formatAligned } = await import('../../align/locate/format-aligned.js');
  await noticePartial(terminal, reference, recording);
  await runCancellable(context, async (signal) => {
    const verdict = await withProgress(terminal, 'locate', 'steps', (onProgress) =>
      locateAligned(reference, recording, {
        signal,
        onProgress,
        model,
        backend,
        failAbove,
        threads,
      }),
    );
    if (json) terminal.result(toJson(verdict));
    else terminal.styledResult(formatAligned(verdict, { color: terminal.hasColor, all: all === true }));
    if (verdict.found) context.exitWith(1);
  });
}
