import { Command, InvalidArgumentError, Option } from 'commander';
import type { ImportResult } from '../../dump/import/import-dump.js';
import type { RawDtype } from '../../dump/import/raw-dtype.js';
import type { UnmappedChoice } from '../../dump/names/resolve-names.js';
import { badArgument } from '../../errors.js';
import { FAMILY_MAPS, findFamily } from '../../families/families.js';
import { packageVersion } from '../../package-version.js';
import type { CommandContext } from '../command-line.js';
import { formatCount } from '../format-number.js';
import { toJson } from '../json.js';
import { parseTokens, readTokenFile } from '../options/tokens.js';
import { integerOption, rawDtype } from '../options/values.js';
import { fields } from '../table.js';
import { runImportRecording } from './import-recording.js';

export interface ImportCommandOptions {
  out: string;
  tokens?: string;
  tokensFile?: string;
  sequences?: number[];
  config?: string;
  map?: string;
  order?: string;
  keepUnmapped?: boolean;
  dropUnmapped?: boolean;
  bf16Bits?: boolean;
  vocabulary?: number;
  dtype?: RawDtype;
  model?: string;
  overwrite?: boolean;
  json?: boolean;
}

/** `zayascope import`: makes a dump of another program's values. */
export function importCommand(context: CommandContext): Command {
  return new Command('import')
    .description("Makes a dump of another program's values. Needs no native addon.")
    .argument(
      '<source>',
      'safetensors, .npy, .npz or PyTorch file, folder of .npy files, folder that zayascope_dump.h or zayascope_recording.h wrote, or raw F32 logits (.bin, .txt)',
    )
    .requiredOption('--out <folder>', 'folder of the dump; made if absent')
    .option(
      '--map <map>',
      `which name is which tap: ${Object.keys(FAMILY_MAPS).join(', ')}, or a JSON file (default: the tap names of the model that --config says, else zaya)`,
    )
    .option(
      '--order <file>',
      'order in which the values were computed: tap names or patterns as in a map, one a line or a JSON array (default: of the model, the map or the producer; else by name)',
    )
    .option('--config <file>', "the model's config.json: shapes are checked against it, axes get names")
    .option('--tokens <ids>', 'ids of all tokens of the sequence, separated by commas')
    .addOption(
      new Option(
        '--tokens-file <file>',
        'file with token ids: integers, a JSON array, {"tokens": [...]} or {"input_ids": [...]}, or I32',
      ).conflicts('tokens'),
    )
    .option(
      '--sequences <lengths>',
      "tokens of each sequence of a llama.cpp folder's only batch, separated by commas, where the header did not record them",
      parseLengths,
    )
    .option('--keep-unmapped', 'store values that the map does not know under their own names')
    .addOption(
      new Option(
        '--drop-unmapped',
        'leave values out that the map does not know (default: refuse)',
      ).conflicts('keepUnmapped'),
    )
    .option('--bf16-bits', 'uint16 arrays of NumPy hold bits of BF16')
    .option(
      '--vocabulary <count>',
      'logits of one token in a .bin of several tokens',
      integerOption(1, 2 ** 31 - 1),
    )
    .option(
      '--dtype <dtype>',
      'what a .bin holds: f32, bf16, f16 or f64 (default: f32, unless its bits show another)',
      rawDtype,
    )
    .option('--model <file>', 'of a folder that zayascope_recording.h wrote: the GGUF file that ran')
    .option('--overwrite', 'replace a dump that is in the folder already')
    .option('--json', 'print the result as JSON')
    .addHelpText(
      'after',
      '\nAll values are of one sequence, but for folders of llama.cpp. docs/import.md describes the sources, the maps and their JSON form.' +
        '\n\nExample:\n  zayascope import out/llamacpp --map llamacpp --config ZAYA1-8B/config.json --out out/port',
    )
    .action((source: string, options: ImportCommandOptions) => runImport(source, options, context));
}

async function runImport(
  path: string,
  options: ImportCommandOptions,
  { terminal }: CommandContext,
): Promise<void> {
  const { out, tokens, tokensFile, sequences, map, keepUnmapped, dropUnmapped, bf16Bits, vocabulary } =
    options;
  if (await runImportRecording(path, options, terminal)) return;
  if (options.model !== undefined)
    throw badArgument(
      'import',
      'a folder that zayascope_recording.h wrote with --model',
      'another source',
      path,
    );
  const { readNameMap } = await import('../../dump/names/file.js');
  const { openForeignSource } = await import('../../dump/import/open-source.js');
  const { importDump } = await import('../../dump/import/import-dump.js');
  const { readTapOrder } = await import('../../dump/import/tap-order.js');
  const order = options.order === undefined ? undefined : await readTapOrder(options.order);
  const ids =
    tokens !== undefined
      ? parseTokens(tokens, '--tokens')
      : tokensFile === undefined
        ? undefined
        : await readTokenFile(tokensFile);
  const { importTarget } = await import('../../capture/import-target.js');
  const described = options.config === undefined ? undefined : await importTarget(options.config);
  const nameMap = await readNameMap(map ?? findFamily(described?.model.type)?.name ?? 'zaya');
  const unmapped: UnmappedChoice = keepUnmapped ? 'keep' : dropUnmapped ? 'drop' : 'fail';
  await using source = await openForeignSource(path, {
    bf16Bits: bf16Bits === true,
    vocabulary,
    rawDtype: options.dtype,
    sequences,
  });
  if (options.dtype !== undefined && source.kind !== 'raw logits')
    throw badArgument('import', 'a raw file with --dtype', `${source.kind}, which says what it holds`, path);
  const result = await importDump(source, {
    out,
    map: nameMap,
    order,
    tokens: ids,
    ...described,
    unmapped,
    importer: { name: 'zayascope', version: packageVersion() },
    overwrite: options.overwrite === true,
  });
  terminal.result(options.json ? toJson(result) : formatResult(result));
}

const ORDER_WORDS: Readonly<Record<ImportResult['order'], string>> = {
  execution: 'in execution order',
  declared: 'in the order declared',
  natural: 'by name: their order is not known',
  unknown: 'in an order that is known in part',
};

function parseLengths(text: string): number[] {
  const lengths = text.split(',').map(Number);
  if (lengths.every((length) => Number.isSafeInteger(length) && length > 0)) return lengths;
  throw new InvalidArgumentError(`expected counts from 1, separated by commas, e.g. 12,12, got '${text}'`);
}

function formatResult(result: ImportResult): string {
  const { out, status, taps, order, sequences, steps, tokens, unmapped, superseded, ignored, notes } = result;
  return fields([
    ['dump', status === 'partial' ? `${out}: partial, the run did not finish` : out],
    ['taps', `${formatCount(taps.length)}, ${ORDER_WORDS[order]}`],
    [
      'tokens',
      `${formatCount(tokens)} ${sequences === 1 ? '' : `of ${formatCount(sequences)} sequences `}in ${formatCount(steps)} ${steps === 1 ? 'step' : 'steps'}`,
    ],
    ['unmapped', formatCount(unmapped.length)],
    [
      'not used',
      `${formatCount(superseded.length)} with a better source, ${formatCount(ignored.length)} known to be no tap`,
    ],
    ...notes.map((note): [string, string] => ['note', note]),
  ]);
}
