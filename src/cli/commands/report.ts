import { Command } from 'commander';
import type { LocateReport } from '../../locate/faults/report.js';
import type { CommandContext } from '../command-line.js';
import { formatBytes } from '../format-number.js';
import { toJson } from '../json.js';
import { allowNonFiniteOption, mapOption } from '../options/dump-pair.js';
import { thresholdOption } from '../options/values.js';
import { progressBar } from '../progress.js';
import { shellWord } from '../shell-word.js';
import { fields } from '../table.js';

interface ReportCommandOptions {
  out: string;
  noiseFloor?: string;
  model?: string;
  map?: string;
  order?: string;
  failAbove?: number;
  allowNonfinite?: boolean;
  title?: string;
  overwrite?: boolean;
  json?: boolean;
}

/** `zayascope report`: two dumps compared, as a page. */
export function reportCommand(context: CommandContext): Command {
  return new Command('report')
    .description('Compares two dumps and writes what it finds as one HTML file that works offline.')
    .argument('<reference>', 'dump that counts as right')
    .argument('<tested>', 'dump to judge')
    .requiredOption('--out <file>', 'HTML file to write')
    .option(
      '--noise, --noise-floor <dump>',
      "noise floor (zayascope noise-floor), or the reference's own run in low precision: every error beside it",
    )
    .option('--model <path>', 'model that both ran: also shows what every op errs by itself')
    .option(
      '--fail-above <nmse>',
      'largest energy NMSE that a tap may have, e.g. 1e-10; integers must be equal (default: report only)',
      thresholdOption,
    )
    .addOption(allowNonFiniteOption())
    .addOption(mapOption())
    .option(
      '--order <file>',
      'names or patterns of taps, a line each, in the order in which they were computed (default: as the dumps say)',
    )
    .option('--title <text>', 'heading of the page (default: the names of the dumps)')
    .option('--overwrite', 'replace a file that is there already')
    .option('--json', 'print the outcome as JSON')
    .addHelpText(
      'after',
      '\nExit code 1: as for `zayascope diff`. Without --model it needs no native addon. docs/report.md shows a page.' +
        '\n\nExample:\n  zayascope report dumps/tiny/reference-float32 out/run --noise-floor dumps/tiny/reference-bfloat16 --out report.html',
    )
    .action((reference: string, tested: string, options: ReportCommandOptions) =>
      runReport(reference, tested, options, context),
    );
}

async function runReport(
  referenceFolder: string,
  testedFolder: string,
  options: ReportCommandOptions,
  { terminal, exitWith }: CommandContext,
): Promise<void> {
  const { out, model, failAbove, allowNonfinite = false, title, overwrite = false } = options;
  const { openPairedDumps } = await import('../../diff/paired-dumps.js');
  const { Dump } = await import('../../dump/reader.js');
  const { readNameMap } = await import('../../dump/names/file.js');
  const { originOf, requireReferenceFirst } = await import('../../diff/sides/side-by-side.js');
  const { readTapOrder } = await import('../../dump/import/tap-order.js');
  const { createReport } = await import('../../report/report.js');
  const { checkReportPath, writeReport } = await import('../../report/write-report.js');
  await checkReportPath(out, overwrite);
  const order = options.order === undefined ? undefined : await readTapOrder(options.order);
  const map = options.map === undefined ? undefined : await readNameMap(options.map);
  await using dumps = await openPairedDumps(referenceFolder, testedFolder, map);
  const { reference, tested } = dumps;
  await using noise = options.noiseFloor === undefined ? undefined : await Dump.open(options.noiseFloor);
  requireReferenceFirst('report', originOf(reference), originOf(tested), ` --out ${shellWord(out)}`);
  using bar = progressBar(terminal, 'report', 'steps');
  let located: LocateReport | undefined;
  if (model !== undefined) {
    const { locateDumps } = await import('../../locate/faults/locate.js');
    located = await locateDumps(reference, tested, model, {
      allowNonFinite: allowNonfinite,
      onProgress: (_what, done, total) => bar.update(done, total),
      noise,
      mapArgument: options.map,
      order,
    });
  }
  const report = await createReport(reference, tested, {
    allowNonFinite: allowNonfinite,
    onProgress: (_what, done, total) => bar.update(done, total),
    noiseFloor: noise,
    mapArgument: options.map,
    order,
    orderArgument: options.order,
    located: located === undefined ? undefined : { report: located, model: model! },
    failAbove,
    title,
  });
  const sizeBytes = await writeReport(out, report.html, overwrite);
  bar[Symbol.dispose]();
  const { outcome, sentence, tensorTaps, diff } = report;
  terminal.result(
    options.json
      ? toJson({
          out,
          outcome,
          sentence,
          pass: diff.pass,
          taps: diff.tapReports.length,
          tensorTaps,
          sizeBytes,
        })
      : fields([
          ['report', `${out}, ${formatBytes(sizeBytes)}`],
          ['outcome', `${outcome}  ${sentence}`],
          ['tensors', `of ${tensorTaps} of ${diff.tapReports.length} taps`],
        ]),
  );
  if (!diff.pass) exitWith(1);
}
