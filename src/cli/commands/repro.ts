import { Command } from 'commander';
import { badArgument } from '../../errors.js';
import { FAMILIES } from '../../families/families.js';
import type { ReproComparison, ReproReport, ReproResult } from '../../locate/repro/run.js';
import type { CommandContext } from '../command-line.js';
import { toJson } from '../json.js';
import { integerOption, thresholdOption } from '../options/values.js';
import { runCancellable } from '../run-cancellable.js';
import { fields, table } from '../table.js';

const OP = FAMILIES[0]!.examples.op;

interface ReproWriteOptions {
  op?: string;
  model?: string;
  policy: string;
  sequence: number;
  positions: string;
  out?: string;
  json?: boolean;
}

interface ReproRunOptions {
  backends?: string;
  dtypeVariants?: boolean;
  failAbove?: number;
  json?: boolean;
}

/** `zayascope repro`: one value of a dump as a folder of its own; `repro run` computes it again. */
export function reproCommand(context: CommandContext): Command {
  return new Command('repro')
    .description('Writes a small folder that computes one value of a dump again, without model and dump.')
    .argument('<dump>', 'dump of tier full, of any program')
    .option(
      '--op <tap>',
      `value to reproduce, e.g. ${OP} (required); of a recording also NAME@STEP or the number of a node`,
    )
    .option(
      '--model <folder>',
      'model folder or GGUF file that has the weights (required, but for recordings that read none)',
    )
    .option('--out <folder>', 'folder to make; must be new or empty (required)')
    .option('--policy <name>', 'a preset or a .json file: the settings to reproduce', 'f32')
    .option('--sequence <number>', 'sequence of the dump', integerOption(0, 2 ** 31 - 1), 0)
    .option(
      '--positions <range>',
      'positions to compare: all, last, or a:b; the tokens before are kept',
      'all',
    )
    .option('--json', 'print the result as JSON')
    .addHelpText(
      'after',
      `\nExample:\n  zayascope repro dumps/tiny/reference-float32 --op ${OP} --model dumps/tiny/model --out out/conv` +
        '\n  zayascope repro run out/conv --dtype-variants',
    )
    .action((dump: string, options: ReproWriteOptions) => writeFolder(dump, options, context))
    .addCommand(runCommand(context));
}

function runCommand(context: CommandContext): Command {
  return new Command('run')
    .description(
      'Computes the value of such a folder again and compares it with the dump and with exact arithmetic.',
    )
    .argument('<folder>', 'what `zayascope repro` wrote')
    .option('--backends <names>', 'devices or backends, separated by commas (default: every device)')
    .option(
      '--dtype-variants',
      'also with every other dtype and form where it matters, and under the presets',
    )
    .option(
      '--fail-above <nmse>',
      'exit code 1 if a device is further from the dump under the stored policy, or cannot run it',
      thresholdOption,
    )
    .option('--json', 'print the result as JSON')
    .addHelpText(
      'after',
      '\nExit code 1 also where the dump or a device, under the stored policy, has a NaN or an infinity.',
    )
    .action((folder: string, options: ReproRunOptions) => runFolder(folder, options, context));
}

async function writeFolder(
  path: string,
  options: ReproWriteOptions,
  { terminal }: CommandContext,
): Promise<void> {
  // Commander would ask for required options of `repro` in `repro run` too.
  const { op, model, out } = options;
  const { isRecording } = await import('../../recording/replay/open-recording.js');
  if (await isRecording(path)) return writeNodeFolder(path, options, terminal);
  if (op === undefined || model === undefined || out === undefined)
    throw badArgument(
      'repro',
      '--op, --model and --out',
      `no ${op === undefined ? '--op' : model === undefined ? '--model' : '--out'}`,
    );
  const { Dump } = await import('../../dump/reader.js');
  const { loadPolicy } = await import('../../graph/policy.js');
  const { policyWords, weightsWords } = await import('../../locate/repro/readme.js');
  const { writeRepro } = await import('../../locate/repro/repro.js');
  const policy = await loadPolicy(options.policy);
  await using dump = await Dump.open(path);
  const { graph, ...rest } = await writeRepro({
    dump,
    op,
    model,
    policy,
    out,
    sequence: options.sequence,
    positions: options.positions,
  });
  const summary = { out, ...rest, nodes: graph.length };
  if (options.json) return terminal.result(toJson(summary));
  const settings = Object.entries(summary.policy.settings).map(([site, value]) => `${site}=${value}`);
  terminal.result(
    fields([
      ['folder', summary.out],
      ['op', `${summary.op}, ${summary.nodes} nodes`],
      ['from', `${summary.dump.producer}${policyWords(summary.dump.policy)}`],
      [
        'weights',
        `${summary.model.name}${summary.model.sameWeights ? '' : ` (${weightsWords(summary.model)})`}`,
      ],
      ['policy', `${summary.policy.name}${settings.length === 0 ? '' : `: ${settings.join(', ')}`}`],
      ['next', `zayascope repro run ${summary.out} --dtype-variants`],
    ]),
  );
}

/** A node of a recording becomes a recording of its own. */
async function writeNodeFolder(
  recording: string,
  { op, model, out, json, ...rest }: ReproWriteOptions,
  terminal: CommandContext['terminal'],
): Promise<void> {
  if (op === undefined || out === undefined)
    throw badArgument('repro', '--op and --out', `no ${op === undefined ? '--op' : '--out'}`);
  const other = Object.entries(DUMP_ONLY).find(
    ([name, usual]) => rest[name as keyof typeof DUMP_ONLY] !== usual,
  );
  if (other !== undefined)
    throw badArgument('repro', 'options of recordings (--op, --model, --out, --json)', `--${other[0]}`);
  const { writeNodeRepro } = await import('../../recording/repro/write-repro.js');
  const written = await writeNodeRepro({ recording, op, model, out });
  if (json) return terminal.result(toJson(written));
  terminal.result(
    fields([
      ['folder', written.out],
      ['node', `${written.id}: ${written.op} ${written.name}, step ${written.step}`],
      ...written.sources.map(
        ({ name, type, ne }, k) => [k === 0 ? 'reads' : '', `${name}: ${ne.join(' x ')}, ${type}`] as const,
      ),
      ['bytes', String(written.bytes)],
      ['next', `zayascope repro run ${written.out}`],
    ]),
  );
}

/** Options that mean nothing for a recording, and what they are when nobody gave them. */
const DUMP_ONLY = { policy: 'f32', sequence: 0, positions: 'all' } as const;

async function runFolder(
  folder: string,
  { backends, dtypeVariants = false, failAbove, json }: ReproRunOptions,
  context: CommandContext,
): Promise<void> {
  const { terminal, exitWith } = context;
  const { isNodeRepro } = await import('../../recording/repro/run-repro.js');
  if (await isNodeRepro(folder)) {
    if (dtypeVariants)
      throw badArgument(
        'repro run',
        'no --dtype-variants with a node of a recording, which is always run with its operands in F32 too',
        '--dtype-variants',
        folder,
      );
    return runNodeFolder(folder, { backends, failAbove, json }, context);
  }
  const { runRepro } = await import('../../locate/repro/run.js');
  const report = await runRepro(folder, {
    dtypeVariants,
    backends: backends?.split(',').map((name) => name.trim()),
  });
  const fails = ({ isPolicy, expected }: ReproResult) =>
    isPolicy &&
    ((expected?.nonFinite ?? 0) > 0 ||
      (failAbove !== undefined && !(expected !== undefined && isWithin(expected, failAbove))));
  terminal.result(json ? toJson(report) : formatReport(report));
  if (report.results.some(fails)) exitWith(1);
}

async function runNodeFolder(
  folder: string,
  { backends, failAbove, json }: Omit<ReproRunOptions, 'dtypeVariants'>,
  context: CommandContext,
): Promise<void> {
  const { formatNodeReproRuns, runNodeRepro } = await import('../../recording/repro/run-repro.js');
  await runCancellable(context, async (signal) => {
    const runs = await runNodeRepro({
      folder,
      backends: backends !== undefined ? backends.split(',').map((name) => name.trim()) : undefined,
      signal,
    });
    context.terminal.result(json ? toJson(runs) : formatNodeReproRuns(runs));
    const fails = ({ error, nonFinite, nmse = 0 }: (typeof runs.results)[number]) =>
      nonFinite > 0 || (failAbove !== undefined && (error !== undefined || !(nmse <= failAbove)));
    if (runs.results.some(fails)) context.exitWith(1);
  });
}

function formatReport(report: ReproReport): string {
  const { op, reference, reference64, positions, graphChanged, results } = report;
  const head = fields([
    ['op', `${op}, positions ${positions.start} to ${positions.end - 1}`],
    ['dump', reference],
    [
      'exact',
      reference64 === undefined
        ? 'not evaluated: too many products'
        : reference64.integers !== undefined
          ? `double precision, no rounding; the dump differs from it in ${differing(reference64)}`
          : `double precision, no rounding; the dump's own NMSE against it is ${reference64.nmse.toExponential(2)}`,
    ],
    ...(graphChanged
      ? ([['note', 'this version builds another graph than the one that was stored']] as const)
      : []),
  ]);
  const rows = results.map((result) => [
    result.device,
    result.variant,
    ...cells(result.expected),
    result.exact === undefined ? '' : errorCell(result.exact),
    result.error ?? notFinite(result.expected),
  ]);
  const right = (title: string) => ({ title, align: 'right' }) as const;
  const isInteger = results.some(({ expected }) => expected?.integers !== undefined);
  const error = isInteger ? 'other than' : 'NMSE to';
  return `${head}\n\n${table(
    [
      { title: 'device' },
      { title: 'variant' },
      right(`${error} dump`),
      right('max abs'),
      right('>1 ULP'),
      right('equal'),
      right(`${error} exact`),
      { title: '' },
    ],
    rows,
  )}`;
}

function notFinite(comparison: ReproComparison | undefined): string {
  const count = comparison?.nonFinite ?? 0;
  return count === 0 ? '' : `NOT FINITE: ${count} ${count === 1 ? 'element' : 'elements'}`;
}

function cells(comparison: ReproComparison | undefined): string[] {
  if (comparison === undefined) return ['', '', '', ''];
  const { maxAbs, bitEqual, ulp, integers } = comparison;
  return [
    errorCell(comparison),
    integers === undefined ? maxAbs.toExponential(2) : '',
    ulp === undefined ? '' : `${(100 * ulp.shareOverOne).toFixed(1)} %`,
    `${(100 * bitEqual).toFixed(1)} %`,
  ];
}

/** Integers are equal or not. */
function isWithin({ nmse, integers }: ReproComparison, failAbove: number): boolean {
  return integers === undefined ? nmse <= failAbove : integers.differing === 0;
}

function errorCell(comparison: ReproComparison): string {
  return comparison.integers === undefined ? comparison.nmse.toExponential(2) : differing(comparison);
}

function differing({ integers }: ReproComparison): string {
  return `${integers!.differing} of ${integers!.elements}`;
}
