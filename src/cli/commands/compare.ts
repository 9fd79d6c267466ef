import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Command } from 'commander';
import { diffNonFiniteLines } from '../../diff/format/non-finite.js';
import type { RoutingReport } from '../../diff/routing.js';
import { badArgument } from '../../errors.js';
import type { BackendComparison } from '../../locate/compare-backends.js';
import { printableLine } from '../../printable.js';
import type { CommandContext } from '../command-line.js';
import { formatCount } from '../format-number.js';
import { toJson } from '../json.js';
import { STRICT_HELP } from '../options/device.js';
import { allowNonFiniteOption } from '../options/dump-pair.js';
import { addTokenOptions, resolveTokens, type TokenOptions } from '../options/tokens-or-prompt.js';
import { thresholdOption } from '../options/values.js';
import { runCancellable } from '../run-cancellable.js';
import { fields, table } from '../table.js';

interface CompareOptions extends TokenOptions {
  model: string;
  policy: string;
  backends: string;
  strictF32?: boolean;
  failAbove?: number;
  allowNonfinite?: boolean;
  out?: string;
  json?: boolean;
}

/** `zayascope compare`: one model on several backends. */
export function compareCommand(context: CommandContext): Command {
  const command = new Command('compare')
    .description('Runs a prompt on several backends and names the first op where they part.')
    .requiredOption('--model <path>', 'model folder or GGUF file')
    .option('--policy <name>', 'dtypes of the runs: a preset or a .json file', 'f32')
    .option(
      '--backends <names>',
      'backends or devices, separated by commas; the first is what others are held against',
      'cpu,vulkan',
    );
  return addTokenOptions(command)
    .option('--strict-f32', STRICT_HELP)
    .option(
      '--fail-above <nmse>',
      'largest energy NMSE that a value may have (default: 1e-10, what F32 sums in another order stay below)',
      thresholdOption,
    )
    .addOption(allowNonFiniteOption())
    .option('--out <folder>', 'keep the dumps, one folder a backend (default: a temporary folder)')
    .option('--json', 'print the result as JSON')
    .addHelpText(
      'after',
      '\nEach backend runs in a process of its own. Exit code 1: a value is further apart than --fail-above, or NaN' +
        '\nor infinite.' +
        '\n\nExample:\n  zayascope compare --model dumps/tiny/model --tokens-file dumps/tiny/prompt.json --backends cpu,vulkan',
    )
    .action((options: CompareOptions) => runCompare(options, context));
}

async function runCompare(options: CompareOptions, context: CommandContext): Promise<void> {
  const { terminal } = context;
  const names = options.backends.split(',').map((name) => name.trim());
  if (names.length < 2 || names.includes('') || new Set(names).size < names.length)
    throw badArgument('compare', 'at least two different backends', options.backends);
  const { tokens } = await resolveTokens('compare', options, options.model, terminal);
  const { captureInProcess } = await import('../../capture/capture-process.js');
  const { checkDumpFolder } = await import('../../dump/folder.js');
  const { Dump } = await import('../../dump/reader.js');
  const { compareBackends, SAME_ARITHMETIC } = await import('../../locate/compare-backends.js');
  const failAbove = options.failAbove ?? SAME_ARITHMETIC;
  if (options.out !== undefined)
    for (const name of names) await checkDumpFolder(join(options.out, name), false);
  const folder = options.out ?? (await mkdtemp(join(tmpdir(), 'zayascope-compare-')));
  const work = async (signal: AbortSignal): Promise<void> => {
    const devices: string[] = [];
    for (const name of names) {
      if (terminal.isInteractive) terminal.notice(`running on ${name}\n`);
      const run = {
        out: join(folder, name),
        backend: name,
        policy: options.policy,
        signal,
      };
      const strictF32 = options.strictF32 === true;
      devices.push((await captureInProcess(options.model, tokens, { ...run, strictF32 })).device);
    }
    await using reference = await Dump.open(join(folder, names[0]!));
    const comparisons: BackendComparison[] = [];
    for (const name of names.slice(1)) {
      await using tested = await Dump.open(join(folder, name));
      comparisons.push(await compareBackends(reference, tested, name, failAbove, options.allowNonfinite));
    }
    const summary = {
      model: options.model,
      policy: options.policy,
      strictF32: options.strictF32 === true,
      failAbove,
      backends: names.map((name, at) => ({ name, device: devices[at]! })),
    };
    terminal.result(options.json ? toJson({ ...summary, comparisons }) : format(summary, comparisons));
    if (comparisons.some(({ report }) => !report.pass)) context.exitWith(1);
  };
  try {
    await runCancellable(context, work);
  } finally {
    if (options.out === undefined) await rm(folder, { recursive: true, force: true });
  }
}

interface CompareSummary {
  model: string;
  policy: string;
  strictF32: boolean;
  failAbove: number;
  backends: readonly { name: string; device: string }[];
}

function format(
  { model, policy, strictF32, failAbove, backends }: CompareSummary,
  comparisons: readonly BackendComparison[],
): string {
  const lines = fields([
    ['model', `${model}, policy ${policy}${strictF32 ? ', strict F32' : ''}`],
    ...backends.map(({ name, device }, at): [string, string] => [
      at === 0 ? 'reference' : 'against',
      `${name} (${device})`,
    ]),
    ['fails above', `energy NMSE ${failAbove}`],
  ]);
  const verdicts = table(
    [
      { title: 'backend' },
      { title: '' },
      { title: 'taps', align: 'right' },
      { title: 'worst NMSE', align: 'right' },
      { title: 'logits', align: 'right' },
      { title: 'experts flipped', align: 'right' },
      { title: 'first op where they part' },
    ],
    comparisons.map(({ backend, report, parts }) => {
      const worst = report.blocks.reduce((most, { worst: block }) => Math.max(most, block?.nmse ?? 0), 0);
      const logits = report.blocks.at(-1)?.last?.nmse ?? null;
      return [
        backend,
        report.outcome,
        formatCount(report.tapReports.length),
        short(worst),
        short(logits),
        report.routing === null ? '·' : flipsOf(report.routing),
        parts?.tap ?? 'none',
      ];
    }),
  );
  const details = comparisons.flatMap(({ backend, report, parts }) => [
    ...diffNonFiniteLines(report).map((line) => `${backend}: ${line}`),
    ...(parts === null
      ? []
      : [
          `${backend} parts at ${parts.tap}: NMSE ${short(parts.nmse)}, from ${parts.inputs.map(({ tap, nmse }) => `${tap} (${short(nmse)})`).join(', ') || 'tokens and weights'}`,
        ]),
  ]);
  const blocks = table(
    [
      { title: 'block' },
      ...comparisons.flatMap(({ backend }) => [
        { title: `${backend} worst`, align: 'right' as const },
        { title: 'last', align: 'right' as const },
        { title: 'worst tap' },
      ]),
    ],
    comparisons[0]!.report.blocks.map(({ label }, at) => [
      label,
      ...comparisons.flatMap(({ report }) => {
        const block = report.blocks[at];
        return [
          short(block?.worst?.nmse ?? null),
          short(block?.last?.nmse ?? null),
          block?.worst?.tap ?? '-',
        ];
      }),
    ]),
  );
  return [
    lines,
    verdicts,
    ...(details.length > 0 ? [details.map(printableLine).join('\n')] : []),
    blocks,
  ].join('\n\n');
}

function flipsOf({ flipped, nonFinite }: RoutingReport): string {
  return `${formatCount(flipped)}${nonFinite === 0 ? '' : `, ${formatCount(nonFinite)} not finite`}`;
}

function short(nmse: number | null): string {
  return nmse === null ? '-' : nmse === 0 ? '0' : nmse.toExponential(1);
}
