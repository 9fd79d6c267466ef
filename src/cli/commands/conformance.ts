import { Command, Option } from 'commander';
import type { CommandContext } from '../command-line.js';
import { toJson } from '../json.js';
import { withProgress } from '../progress.js';
import { table } from '../table.js';

interface ConformanceCommandOptions {
  backend: string;
  model?: string;
  dump?: string;
  ops?: string;
  dtypes?: string;
  strictF32?: boolean;
  json?: boolean;
  markdown?: boolean;
}

/** `zayascope conformance`: every op on a device against double precision. */
export function conformanceCommand(context: CommandContext): Command {
  return new Command('conformance')
    .description('Runs every op on a device, in every dtype, and judges it against double precision.')
    .option(
      '--backend <name>',
      'backend or device, as `zayascope doctor` lists them; `lavapipe` is Vulkan on the CPU',
      'cpu',
    )
    .option('--model <path>', 'model whose sizes are used (default: those of ZAYA1-8B and of a tiny model)')
    .option('--dump <folder>', 'full dump whose values are used besides, where an operand is a tap')
    .option('--ops <glob>', 'ops to run, e.g. "mulMat*" (default: all)')
    .option('--dtypes <glob>', 'dtypes to run, as the table shows them, e.g. "F32 F32" (default: all)')
    .option('--strict-f32', 'F32 products of F32 operands, on devices that would round them to F16')
    .option('--json', 'print all cases as JSON')
    .addOption(new Option('--markdown', 'print the table as Markdown').conflicts('json'))
    .addHelpText(
      'after',
      '\nNMSE: power of the error over power of the exact result. NaN must be NaN, infinities must agree in sign.' +
        '\nNMSE, tolerance and shape are of the case nearest to its tolerance, ULP and max abs the largest of all.' +
        '\nDevices other than the CPU run in child processes. Exit code 1: a case fails or crashes; unsupported' +
        '\nones do not count.' +
        '\n\nExample:\n  zayascope conformance --backend vulkan --strict-f32 --ops "mulMat*"',
    )
    .action((options: ConformanceCommandOptions) => runConformance(options, context));
}

async function runConformance(
  { json, markdown, ...options }: ConformanceCommandOptions,
  { terminal, exitWith }: CommandContext,
): Promise<void> {
  const { conformance } = await import('../../conformance/conformance.js');
  const format = await import('../../conformance/format-conformance.js');
  const report = await withProgress(terminal, 'conformance', 'cases', (onProgress) =>
    conformance({ ...options, onProgress }),
  );
  if (!report.pass) exitWith(1);
  if (json) return terminal.result(toJson(report));
  if (markdown) return terminal.result(format.conformanceMarkdown(report));
  const columns = format.CONFORMANCE_COLUMNS.map((title) => ({
    title,
    align: RIGHT.has(title) ? ('right' as const) : ('left' as const),
  }));
  const failures = format.failureLines(report).map((line) => `FAIL ${line}`);
  const parts = [
    [table(columns, format.conformanceCells(report))],
    failures,
    format.conformanceHeading(report),
  ];
  terminal.result(
    parts
      .filter(({ length }) => length > 0)
      .map((lines) => lines.join('\n'))
      .join('\n\n'),
  );
}

const RIGHT: ReadonlySet<string> = new Set(['cases', 'NMSE', 'tolerance', 'max ULP', 'max abs']);
