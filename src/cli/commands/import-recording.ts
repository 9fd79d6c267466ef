import { badArgument } from '../../errors.js';
import { importRecording, isRecordedFolder } from '../../recording/import/import-recording.js';
import type { CommandContext } from '../command-line.js';
import { formatCount } from '../format-number.js';
import { toJson } from '../json.js';
import { fields } from '../table.js';
import type { ImportCommandOptions } from './import.js';

/** Options that say how names and rows are to be read, which a recording says itself. */
const OF_DUMPS = {
  map: '--map',
  order: '--order',
  config: '--config',
  tokens: '--tokens',
  tokensFile: '--tokens-file',
  sequences: '--sequences',
  keepUnmapped: '--keep-unmapped',
  dropUnmapped: '--drop-unmapped',
  vocabulary: '--vocabulary',
  dtype: '--dtype',
  bf16Bits: '--bf16-bits',
} as const;

/** Imports a folder that `zayascope_recording.h` wrote; false where it is none. */
export async function runImportRecording(
  path: string,
  options: ImportCommandOptions,
  terminal: CommandContext['terminal'],
): Promise<boolean> {
  if (!(await isRecordedFolder(path))) return false;
  for (const [key, name] of Object.entries(OF_DUMPS))
    if (options[key as keyof typeof OF_DUMPS] !== undefined)
      throw badArgument('import', 'a recording, which says itself what its values are', name, path);
  const { out, model, overwrite } = options;
  const result = await importRecording(path, { out, model, overwrite: overwrite === true });
  terminal.result(
    options.json
      ? toJson(result)
      : fields([
          ['recording', result.status === 'partial' ? `${out}: partial, the run did not finish` : out],
          ...(result.description === undefined
            ? []
            : [['model', result.description] satisfies [string, string]]),
          ['graphs', `${formatCount(result.graphs)}: ${formatCount(result.nodes)} nodes that compute`],
          ['values', `${formatCount(result.taps)} taps`],
          ['tokens', `${formatCount(result.tokens)} in ${result.sequences} sequences`],
          ['next', `zayascope replay ${out} --model ${model ?? 'MODEL.gguf'}`],
        ]),
  );
  return true;
}
