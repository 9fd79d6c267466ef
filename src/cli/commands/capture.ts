import { readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { Command, Option } from 'commander';
import type { CaptureResult } from '../../capture/capture.js';
import type { CapturedNonFinite } from '../../capture/step-sink.js';
import type { DumpTier } from '../../dump/format.js';
import { sequenceLengths } from '../../dump/sequences.js';
import { badArgument } from '../../errors.js';
import { flatNote, flatRows } from '../../flat-logits.js';
import { countNotNumbers, likeliestWithLogit } from '../../likeliest-token.js';
import { tapPattern } from '../../tap-pattern.js';
import type { CommandContext } from '../command-line.js';
import { formatBytes, formatCount, formatMs } from '../format-number.js';
import { toJson } from '../json.js';
import { openRun } from '../options/open-run.js';
import { addRunOptions, type RunOptions } from '../options/run.js';

import { addTokenOptions, resolveSequences, type TokenOptions } from '../options/tokens-or-prompt.js';
import { integerOption } from '../options/values.js';
import { withProgress } from '../progress.js';
import { runCancellable } from '../run-cancellable.js';
import { fields } from '../table.js';
import { runCaptureNodes } from './capture-nodes.js';

export interface CaptureCommandOptions extends TokenOptions, RunOptions {
  model: string;
  out?: string;
  prove?: boolean;
  taps: string;
  positions: string;
  tier: DumpTier;
  oneByOne?: boolean;
  nodes?: boolean;
  generate?: number;
  overwrite?: boolean;
  json?: boolean;
}

/** `zayascope capture`: runs a model and writes its values into a dump. */
export function captureCommand(context: CommandContext): Command {
  const command = new Command('capture')
    .description('Runs a prompt through a model and writes every selected value into a dump.')
    .requiredOption('--model <path>', 'model folder (transformers or legacy layout) or GGUF file')
    .option('--out <folder>', 'folder of the dump; made if absent');
  return addRunOptions(addTokenOptions(command, true))
    .option(
      '--taps <globs>',
      'values to capture: globs such as layers.{0..3}.mlp.**, separated by commas',
      '**',
    )
    .option('--positions <range>', 'token positions: all, last, or a:b (from a up to but without b)', 'all')
    .addOption(
      new Option('--tier <tier>', 'values and statistics, statistics per token, or SHA-256 per value')
        .choices(['full', 'stats', 'hash'])
        .default('full'),
    )
    .option(
      '--one-by-one',
      'run the sequences of --tokens-file alone instead of as one batch, padded on the left',
    )
    .option(
      '--prove',
      'write nothing: run with and without the taps and say whether the logits are the same bits, or which taps change them',
    )
    .option(
      '--nodes',
      'record every ggml node and the graph, for replay, locate, step and repro; sequences run one by one',
    )
    .option(
      '--generate <count>',
      'with --nodes: tokens to append, each the likeliest, in a call of its own (default: 0)',
      integerOption(0, 4096),
    )
    .option('--overwrite', 'replace a dump that is in the folder already')
    .option('--json', 'print the result as JSON')
    .addHelpText(
      'after',
      '\nCtrl-C stops the run and leaves a partial dump, readable up to its last complete batch (exit code 130).' +
        '\nExit code 1: --prove found a change, or a logit is NaN or infinite (the dump is complete all the same).' +
        '\n\nExample:\n  zayascope capture --model dumps/tiny/model --tokens-file dumps/tiny/prompt.json --out out/run',
    )
    .action((options: CaptureCommandOptions) => runCapture(options, context));
}

async function runCapture(options: CaptureCommandOptions, context: CommandContext): Promise<void> {
  const { terminal } = context;
  const { out } = options;
  if (options.prove) return runProve(options, context);
  if (options.nodes) return runCaptureNodes(options, context);
  if (options.generate !== undefined)
    throw badArgument('capture', '--generate with --nodes', '--generate alone');
  if (out === undefined) throw badArgument('capture', '--out or --prove', 'neither');
  const { sequences } = await resolveSequences('capture', options, options.model, terminal);
  tapPattern(options.taps); // a typing error should show before gigabytes are loaded
  const { capture } = await import('../../capture/capture.js');
  const started = performance.now();
  await runCancellable(context, async (signal) => {
    using model = await openRun('capture', options.model, options, terminal, signal);
    const result = await withProgress(terminal, 'capture', 'segments', (onProgress) =>
      capture(model, sequences, {
        out,
        taps: options.taps,
        positions: options.positions,
        tier: options.tier,
        batched: options.oneByOne !== true,
        overwrite: options.overwrite === true,
        onProgress,
        signal,
      }),
    );
    const summary = await summarise({ ...options, out }, result, performance.now() - started);
    terminal.result(options.json ? toJson(summary) : formatSummary(summary));
    if (summary.nonFiniteLogits > 0) context.exitWith(1);
  });
}

/** `capture --prove`: for the first sequence. */
async function runProve(options: CaptureCommandOptions, context: CommandContext): Promise<void> {
  const { terminal } = context;
  const { sequences } = await resolveSequences('capture', options, options.model, terminal);
  tapPattern(options.taps);
  const { proveCapture } = await import('../../capture/prove.js');
  const { formatProof } = await import('./prove.js');
  await runCancellable(context, async (signal) => {
    using model = await openRun('capture', options.model, options, terminal, signal);
    const proof = await withProgress(terminal, 'prove', 'runs at most', (onProgress) =>
      proveCapture(model, sequences[0]!, {
        taps: options.taps,
        onProgress,
        signal,
      }),
    );
    terminal.result(options.json ? toJson(proof) : formatProof(proof));
    if (!proof.isEqual || !proof.isDeterministic || proof.nonFinite > 0) context.exitWith(1);
  });
}

/** What `capture --json` prints. */
interface CaptureSummary {
  out: string;
  status: 'partial' | 'complete';
  tier: DumpTier;
  policy: string;
  backend: string;
  device: string;
  threads: number;
  taps: number;
  blocks: number;
  sequences: number;
  /** Of all sequences. */
  tokens: number;
  positions: string;
  estimatedBytes: number;
  sizeBytes: number;
  /** Forward passes with their writing. */
  elapsedMs: number;
  /** With loading, compiling and closing. */
  totalMs: number;
  /**
   * For each sequence, where the last token's logits are largest, and how large; null where one of them is
   * NaN or infinite.
   */
  topTokens: ({ id: number; logit: number } | null)[];
  /** Sequences whose last token's logits are all equal: none is likelier than another. */
  flatLogits: number;
  /** Logits of the last tokens that are NaN or infinite. */
  nonFiniteLogits: number;
  /** The first captured value with a NaN or an infinity. */
  nonFinite: CapturedNonFinite | null;
}

async function summarise(
  { out, positions }: { out: string; positions: string },
  { manifest, estimatedBytes, logits, nonFinite, elapsedMs }: CaptureResult,
  totalMs: number,
): Promise<CaptureSummary> {
  const { status, tier, policy, backend, taps, sequences } = manifest;
  return {
    out,
    status,
    tier,
    policy: policy.name,
    backend: backend.name,
    device: String(backend.device),
    threads: Number(backend.threads),
    taps: taps.length,
    blocks: new Set(taps.map(({ block }) => block).filter((block) => block !== null)).size,
    sequences: sequences.length,
    tokens: sequenceLengths(sequences).reduce((sum, length) => sum + length, 0),
    positions,
    estimatedBytes,
    sizeBytes: await folderBytes(out),
    elapsedMs,
    totalMs,
    topTokens: logits.map(likeliestWithLogit),
    flatLogits: logits.filter((row) => flatRows(row, row.length) > 0).length,
    nonFiniteLogits: logits.reduce((sum, row) => sum + countNotNumbers(row), 0),
    nonFinite,
  };
}

async function folderBytes(folder: string): Promise<number> {
  const sizes = (await readdir(folder)).map(async (name) => (await stat(join(folder, name))).size);
  return (await Promise.all(sizes)).reduce((sum, size) => sum + size, 0);
}

function formatSummary(summary: CaptureSummary): string {
  const { taps, blocks, tokens, positions, sizeBytes, estimatedBytes, threads } = summary;
  return fields([
    ['dump', `${summary.out}: ${summary.status}, tier ${summary.tier}`],
    [
      'run',
      `policy ${summary.policy}, ${summary.backend} (${summary.device})${threads === 0 ? '' : `, ${threads} ${threads === 1 ? 'thread' : 'threads'}`}`,
    ],
    ['taps', `${formatCount(taps)}, ${blocks} blocks`],
    [
      'tokens',
      `${formatCount(tokens)}${summary.sequences > 1 ? ` in ${summary.sequences} sequences` : ''}, positions ${positions}`,
    ],
    ['size', `${formatBytes(sizeBytes)} (estimated ${formatBytes(estimatedBytes)})`],
    ['time', `${formatMs(summary.elapsedMs)} to run and write, ${formatMs(summary.totalMs)} in all`],
    [
      'next token',
      summary.topTokens
        .map((top) =>
          top === null ? 'none: logits are not finite' : `${top.id} (logit ${top.logit.toFixed(4)})`,
        )
        .join(', '),
    ],
    ...flatNote(summary.flatLogits, summary.sequences, 'sequences').map((line): [string, string] => [
      'note',
      line,
    ]),
    ...nonFiniteLines(summary),
  ]);
}

function nonFiniteLines({ nonFiniteLogits, nonFinite, tier }: CaptureSummary): [string, string][] {
  if (nonFiniteLogits === 0 && nonFinite === null) return [];
  const logits = `${nonFiniteLogits} ${nonFiniteLogits === 1 ? 'logit' : 'logits'} NaN or infinite`;
  if (nonFinite === null)
    return [
      [
        'NOT FINITE',
        `${logits}; ${tier === 'hash' ? 'tier hash measures no value' : 'no captured value is'}`,
      ],
    ];
  const { tap, sequence, position, nan, inf } = nonFinite;
  const where = `${sequence === 0 ? '' : `sequence ${sequence} `}position ${position}`;
  return [
    ['NOT FINITE', `${logits}; the first value is ${tap} at ${where}, with ${nan} NaN and ${inf} infinite`],
  ];
}
