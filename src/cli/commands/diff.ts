import { Command } from 'commander';
import type { AlignResult } from '../../align/align.js';
import type { DumpView } from '../../dump/dump-view.js';
import { badArgument } from '../../errors.js';
import type { NoiseJudgement } from '../../locate/noise/noise-floor.js';
import type { CommandContext } from '../command-line.js';
import { toJson } from '../json.js';
import { allowNonFiniteOption, mapOption } from '../options/dump-pair.js';
import { thresholdOption } from '../options/values.js';
import { withProgress } from '../progress.js';

interface DiffCommandOptions {
  failAbove?: number;
  taps: string;
  map?: string;
  align?: boolean;
  order?: string;
  allowNonfinite?: boolean;
  noise?: string;
  all?: boolean;
  json?: boolean;
}

/** `zayascope diff`: compares two dumps. */
export function diffCommand(context: CommandContext): Command {
  return new Command('diff')
    .description('Compares two dumps, tap by tap; the first divergence comes first. Needs no native addon.')
    .argument('<reference>', 'dump that counts as right')
    .argument('<tested>', 'dump to judge')
    .option(
      '--fail-above <nmse>',
      'largest energy NMSE (error power / reference power) that a tap may have, e.g. 1e-10; integers must be equal (default: report only)',
      thresholdOption,
    )
    .option('--taps <globs>', 'taps to compare, as globs separated by commas', '**')
    .addOption(mapOption())
    .option(
      '--align',
      'find which value is which by content and by the graphs (zayascope align), in place of --map',
    )
    .option(
      '--order <file>',
      'names or patterns of taps, a line each, in the order in which they were computed (default: as the dumps say)',
    )
    .addOption(allowNonFiniteOption())
    .option(
      '--noise <dump>',
      'noise floor (zayascope noise-floor), or a low-precision run of the reference: says what is beyond it, and first',
    )
    .option('--all', 'list every tap, not only the worst of each block')
    .option('--json', 'print all metrics of all taps as JSON')
    .addHelpText(
      'after',
      '\nExit code 1: a tap exceeds --fail-above; and, without a limit too: a tap or token of the reference has no' +
        '\npartner, token ids differ, or a value is NaN or infinite (but an' +
        '\ninfinity at the same place of a value marked as masked), or a run did not finish. What a dump' +
        '\nwas not asked to capture (its --taps and --positions) is named, but is no failure.' +
        '\n\nExample:\n  zayascope diff dumps/tiny/reference-float32 out/run --fail-above 1e-10',
    )
    .action((reference: string, tested: string, options: DiffCommandOptions) =>
      runDiff(reference, tested, options, context),
    );
}

async function runDiff(
  referenceFolder: string,
  testedFolder: string,
  {
    failAbove,
    taps,
    map,
    align: isAligned = false,
    order,
    allowNonfinite = false,
    noise,
    all,
    json,
  }: DiffCommandOptions,
  { terminal, exitWith }: CommandContext,
): Promise<void> {
  const { openPairedDumps } = await import('../../diff/paired-dumps.js');
  const { diffDumps } = await import('../../diff/diff.js');
  const { reportToJson } = await import('../../diff/report.js');
  const { formatReport } = await import('../../diff/format/report.js');
  const { readNameMap } = await import('../../dump/names/file.js');
  const { readTapOrder } = await import('../../dump/import/tap-order.js');
  const declared = order === undefined ? undefined : await readTapOrder(order);
  const nameMap = map === undefined ? undefined : await readNameMap(map);
  if (isAligned && map !== undefined) throw badArgument('diff', 'one of --map and --align', 'both');
  const aligned = isAligned ? await alignFolders(referenceFolder, testedFolder, terminal) : undefined;
  await using dumps = await openPairedDumps(referenceFolder, testedFolder, aligned?.map ?? nameMap);
  const plain = await withProgress(terminal, 'diff', 'files', (onProgress) =>
    diffDumps(dumps.reference, dumps.tested, {
      taps,
      allowNonFinite: allowNonfinite,
      onProgress,
      order: declared,
      failAbove,
    }),
  );
  const { withAlignment } = await import('../../align/judged-diff.js');
  const report = aligned === undefined ? plain : withAlignment(plain, aligned, allowNonfinite);
  const judged = noise === undefined ? null : await judgeFolders(noise, dumps.reference, dumps.tested);
  if (json)
    terminal.result(
      judged === null
        ? reportToJson(report)
        : toJson({ ...JSON.parse(reportToJson(report)), noise: JSON.parse(toJson(judged)) }),
    );
  else {
    const text = formatReport(report, { color: terminal.hasColor, verbose: all === true });
    terminal.styledResult(judged === null ? text : await withNoise(text, judged));
  }
  if (!report.pass) exitWith(1);
}

async function judgeFolders(folder: string, reference: DumpView, tested: DumpView): Promise<NoiseJudgement> {
  const { Dump } = await import('../../dump/reader.js');
  const { judgeNoise } = await import('../../locate/noise/noise-floor.js');
  await using noise = await Dump.open(folder);
  return await judgeNoise(reference, noise, tested);
}

/** What is beyond the noise comes first. */
async function withNoise(text: string, { taps, floor }: NoiseJudgement): Promise<string> {
  const { firstBeyondLine, floorRoutingLines } = await import('../../locate/noise/floor/words.js');
  const { rendered } = await import('../../text-table.js');
  const lines = floor === null ? [] : floorRoutingLines(floor);
  return `${rendered([[firstBeyondLine(taps, floor), ...lines]])}\n\n${text}`;
}

/** Pairs first, and says how many; of a map that is to be kept `align` writes a file. */
async function alignFolders(
  reference: string,
  tested: string,
  terminal: CommandContext['terminal'],
): Promise<AlignResult> {
  const { align } = await import('../../align/align.js');
  const result = await withProgress(terminal, 'align', 'values', (onProgress) =>
    align(reference, tested, { onProgress }),
  );
  const { pairs, open, counts } = result;
  if (pairs.length === 0)
    throw badArgument(
      'diff',
      'a value that both have',
      `none among ${counts.reference} and ${counts.tested}`,
    );
  terminal.notice(
    `aligned: ${pairs.length} of ${counts.reference} values of the reference have a partner; ${open.length} have none beyond doubt (zayascope align lists them)\n`,
  );
  return result;
}
