import { Command } from 'commander';
import type { CommandContext } from '../command-line.js';
import { toJson } from '../json.js';
import { noticePartial } from '../partial-notice.js';
import { withProgress } from '../progress.js';

interface AlignCommandOptions {
  out?: string;
  all?: boolean;
  json?: boolean;
}

/** `zayascope align`: finds which values of two dumps are the same, whatever their names. */
export function alignCommand(context: CommandContext): Command {
  return new Command('align')
    .description(
      'Pairs the values of two dumps by content and by what went into what, and writes a name map.',
    )
    .argument('<reference>', 'dump that counts as right, e.g. of the Python package')
    .argument('<tested>', 'dump of the same tokens by another program, e.g. of zayascope record')
    .option(
      '--out <file>',
      'JSON file for the map, which --map of other commands takes; replaced if it exists',
    )
    .option('--all', 'list every pair, not only those that differ')
    .option('--json', 'print pairs, evidence and candidates as JSON')
    .addHelpText(
      'after',
      '\nOnly what is beyond doubt is paired; the rest is listed with the nearest values. Needs no native addon.' +
        '\nExit code 1: nothing was paired.' +
        '\n\nExample:\n  zayascope align out/reference out/recording --out out/map.json\n  zayascope diff out/reference out/recording --map out/map.json',
    )
    .action((reference: string, tested: string, options: AlignCommandOptions) =>
      runAlign(reference, tested, options, context),
    );
}

async function runAlign(
  reference: string,
  tested: string,
  { out, all, json }: AlignCommandOptions,
  { terminal, exitWith }: CommandContext,
): Promise<void> {
  const { align } = await import('../../align/align.js');
  const { formatAlign } = await import('../../align/format-align.js');
  const { checkNameMapPlace, writeNameMap } = await import('../../dump/names/write-name-map.js');
  await noticePartial(terminal, reference, tested);
  if (out !== undefined) await checkNameMapPlace(out);
  const result = await withProgress(terminal, 'align', 'values', (onProgress) =>
    align(reference, tested, { onProgress }),
  );
  if (out !== undefined) await writeNameMap(out, result.map);
  if (json) terminal.result(toJson(result));
  else terminal.styledResult(formatAlign(result, { color: terminal.hasColor, all: all === true }));
  if (out !== undefined && !json) terminal.result(`map written to ${out}`);
  if (result.pairs.length === 0) exitWith(1);
}
