import { readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { Command, Option } from 'commander';
import type { CaptureResult } from '../capture/capture.js';
import type { DumpTier } from '../dump/format.js';
import { ZayascopeError } from '../errors.js';
import { tapPattern } from '../tap-pattern.js';
import { cancelOnSignal } from './cancel-on-signal.js';
import type { CommandContext } from './command-line.js';
import { formatBytes, formatCount, formatMs } from './format-number.js';
import { toJson } from './json.js';
import { progressBar } from './progress.js';
import { addRunOptions, openOptions, type RunOptions } from './run-options.js';
import { fields } from './table.js';
import { addTokenOptions, resolveTokens, type TokenOptions } from './token-options.js';

interface CaptureCommandOptions extends TokenOptions, RunOptions {
  model: string;
  out: string;
  taps: string;
  positions: string;
  tier: DumpTier;
  overwrite?: boolean;
  json?: boolean;
}

/** `zayascope capture`: runs a model and writes its values into a dump. */
export function captureCommand(context: CommandContext): Command {
  const command = new Command('capture')
    .description('Runs a prompt through a model and writes every selected value into a dump.')
    .requiredOption('--model <folder>', 'model in the transformers layout: config.json and safetensors')
    .requiredOption('--out <folder>', 'folder of the dump; made if absent');
  return addRunOptions(addTokenOptions(command))
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
    .option('--overwrite', 'replace a dump that is in the folder already')
    .option('--json', 'print the result as JSON')
    .addHelpText(
      'after',
      '\nCtrl-C stops the run and leaves a partial dump, readable up to its last complete batch (exit code 130).' +
        '\n\nExample:\n  zayascope capture --model dumps/tiny/model --tokens-file dumps/tiny/prompt.json --out out/run',
    )
    .action((options: CaptureCommandOptions) => runCapture(options, context));
}

async function runCapture(options: CaptureCommandOptions, context: CommandContext): Promise<void> {
  const { terminal } = context;
  const { tokens } = await resolveTokens('capture', options, options.model, terminal);
  tapPattern(options.taps); // a typing error should show before gigabytes are loaded
  const { openZaya } = await import('../models/zaya-model.js');
  const { capture } = await import('../capture/capture.js');
  const started = performance.now();
  using cancellation = cancelOnSignal();
  try {
    if (terminal.isInteractive) terminal.notice(`loading ${options.model}\n`);
    using model = await openZaya(options.model, openOptions(options));
    if (cancellation.signal.aborted)
      throw new ZayascopeError('CANCELLED', 'capture: cancelled before the run began', { op: 'capture' });
    using bar = progressBar(terminal, 'capture', 'segments');
    const result = await capture(model, [tokens], {
      out: options.out,
      taps: options.taps,
      positions: options.positions,
      tier: options.tier,
      overwrite: options.overwrite === true,
      onProgress: bar.update,
      signal: cancellation.signal,
    });
    bar[Symbol.dispose]();
    const summary = await summarise(options, result, performance.now() - started);
    terminal.result(options.json ? toJson(summary) : formatSummary(summary));
  } catch (error) {
    if (cancellation.exitCode !== undefined) context.exitWith(cancellation.exitCode);
    throw error;
  }
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
  tokens: number;
  positions: string;
  estimatedBytes: number;
  sizeBytes: number;
  /** Forward passes with their writing. */
  elapsedMs: number;
  /** With loading, compiling and closing. */
  totalMs: number;
  /** Where the last token's logits are largest, and how large. */
  topToken: { id: number; logit: number };
}

async function summarise(
  { out, positions }: CaptureCommandOptions,
  { manifest, estimatedBytes, logits, elapsedMs }: CaptureResult,
  totalMs: number,
): Promise<CaptureSummary> {
  const last = logits[0]!;
  const id = last.reduce((best, value, at) => (value > last[best]! ? at : best), 0);
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
    tokens: sequences.reduce((sum, { tokens }) => sum + tokens.length, 0),
    positions,
    estimatedBytes,
    sizeBytes: await folderBytes(out),
    elapsedMs,
    totalMs,
    topToken: { id, logit: last[id]! },
  };
}

async function folderBytes(folder: string): Promise<number> {
  const sizes = (await readdir(folder)).map(async (name) => (await stat(join(folder, name))).size);
  return (await Promise.all(sizes)).reduce((sum, size) => sum + size, 0);
}

function formatSummary(summary: CaptureSummary): string {
  const { taps, blocks, tokens, positions, sizeBytes, estimatedBytes, topToken, threads } = summary;
  return fields([
    ['dump', `${summary.out}: ${summary.status}, tier ${summary.tier}`],
    [
      'run',
      `policy ${summary.policy}, ${summary.backend} (${summary.device}), ${threads} ${threads === 1 ? 'thread' : 'threads'}`,
    ],
    ['taps', `${formatCount(taps)}, ${blocks} blocks`],
    ['tokens', `${formatCount(tokens)}, positions ${positions}`],
    ['size', `${formatBytes(sizeBytes)} (estimated ${formatBytes(estimatedBytes)})`],
    ['time', `${formatMs(summary.elapsedMs)} to run and write, ${formatMs(summary.totalMs)} in all`],
    ['next token', `${topToken.id} (logit ${topToken.logit.toFixed(4)})`],
  ]);
}
