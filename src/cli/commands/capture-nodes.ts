import { badArgument } from '../../errors.js';
import { flatNote, flatRows } from '../../flat-logits.js';
import { likeliestWithLogit } from '../../likeliest-token.js';
import type { CapturedNodes } from '../../recording/own/capture-nodes.js';
import type { CommandContext } from '../command-line.js';
import { formatBytes, formatCount, formatMs } from '../format-number.js';
import { toJson } from '../json.js';
import { openRun } from '../options/open-run.js';
import { resolveSequences } from '../options/tokens-or-prompt.js';
import { withProgress } from '../progress.js';
import { runCancellable } from '../run-cancellable.js';
import { fields } from '../table.js';
import type { CaptureCommandOptions } from './capture.js';

/** `zayascope capture --nodes`: a recording of our own models. */
export async function runCaptureNodes(
  options: CaptureCommandOptions,
  context: CommandContext,
): Promise<void> {
  const { terminal } = context;
  const { out, generate = 0 } = options;
  if (out === undefined) throw badArgument('capture', '--out', 'none');
  const { taps, positions, tier } = options;
  for (const [name, value, all] of [
    ['--taps', taps, '**'],
    ['--positions', positions, 'all'],
    ['--tier', tier, 'full'],
  ] as const)
    if (value !== all)
      throw badArgument('capture', `--nodes, which writes every node whole`, `${name} ${value}`);
  const { sequences } = await resolveSequences('capture', options, options.model, terminal);
  const { captureNodes } = await import('../../recording/own/capture-nodes.js');
  const started = performance.now();
  await runCancellable(context, async (signal) => {
    using model = await openRun('capture', options.model, options, terminal, signal);
    const result = await withProgress(terminal, 'capture', 'calls', (onProgress) =>
      captureNodes(model, sequences, {
        out,
        generate,
        overwrite: options.overwrite === true,
        onProgress,
        signal,
      }),
    );
    const { logits, ...rest } = result;
    const summary = { ...rest, next: logits.map(likeliestWithLogit), flat: logits.filter(isFlat).length };
    terminal.result(options.json ? toJson(summary) : format(summary, performance.now() - started));
    if (!result.isSame || result.nonFiniteLogits > 0) context.exitWith(1);
  });
}

function isFlat(logits: Float32Array): boolean {
  return flatRows(logits, logits.length) > 0;
}

type Summary = Omit<CapturedNodes, 'logits'> & {
  next: ReturnType<typeof likeliestWithLogit>[];
  flat: number;
};

function format(summary: Summary, elapsedMs: number): string {
  const { out, graphs, nodes, views, taps, named, valueBytes, isSame, generated, next } = summary;
  const appended = generated.filter(({ length }) => length > 0);
  return fields([
    ['recording', out],
    [
      'graphs',
      `${formatCount(graphs)}: ${formatCount(nodes)} nodes that compute, ${formatCount(views)} views`,
    ],
    [
      'values',
      `${formatCount(taps)} taps (${formatCount(named)} of the model file), ${formatBytes(valueBytes)}`,
    ],
    ['logits', isSame ? 'the same bits with and without recording' : 'OTHER BITS with recording'],
    ...appended.map((tokens): [string, string] => ['appended', tokens.join(',')]),
    [
      'next token',
      next
        .map((each) =>
          each === null ? 'none: logits are not finite' : `${each.id} (logit ${each.logit.toFixed(4)})`,
        )
        .join(', '),
    ],
    ...flatNote(summary.flat, next.length, 'sequences').map((line): [string, string] => ['note', line]),
    ['time', formatMs(elapsedMs)],
  ]);
}
