import { stat } from 'node:fs/promises';
import { Command } from 'commander';
import type { CommandContext } from '../command-line.js';
import { formatBytes } from '../format-number.js';
import { toJson } from '../json.js';

interface ExportOptions {
  out: string;
  taps: string;
  json?: boolean;
}

/** `zayascope export`: tensors of a dump as one safetensors file. */
export function exportCommand(context: CommandContext): Command {
  return new Command('export')
    .description(
      'Writes tensors of a dump into one safetensors file: keys are tap names, dtypes are kept. Needs no native addon.',
    )
    .argument('<dump>', 'a dump of tier full')
    .requiredOption('--out <file>', 'safetensors file to write; replaced if it exists')
    .option('--taps <globs>', 'taps to export, as globs separated by commas', '**')
    .option('--json', 'print the result as JSON')
    .addHelpText(
      'after',
      '\nShapes are [rows, ...], rows of all steps in order. A tap whose shape varies gets one key per step,\n`<tap>#<step>`.' +
        '\n\nExample:\n  zayascope export dumps/tiny/reference-float32 --taps "layers.*" --out out/blocks.safetensors',
    )
    .action((folder: string, options: ExportOptions) => runExport(folder, options, context));
}

async function runExport(
  folder: string,
  { out, taps, json }: ExportOptions,
  { terminal }: CommandContext,
): Promise<void> {
  const { Dump } = await import('../../dump/reader.js');
  const { exportSafetensors } = await import('../../dump/export-safetensors.js');
  await using dump = await Dump.open(folder);
  if (dump.manifest.status === 'partial')
    terminal.notice(`zayascope: ${folder} is partial; exporting its whole batches\n`);
  const keys = await exportSafetensors(dump, taps, out);
  const { size: sizeBytes } = await stat(out);
  terminal.result(
    json ? toJson({ out, sizeBytes, keys }) : `${out}: ${keys.length} tensors, ${formatBytes(sizeBytes)}`,
  );
}
