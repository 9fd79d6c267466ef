import { readdir, stat } from 'node:fs/promises';
import { Command } from 'commander';
import { describePart, describePlace } from '../../describe-place.js';
import { badArgument, unmet } from '../../errors.js';
import type { CommandContext } from '../command-line.js';
import { toJson } from '../json.js';

interface InspectOptions {
  taps?: string;
  json?: boolean;
}

/** `zayascope inspect`: what a model folder or a dump holds. */
export function inspectCommand(context: CommandContext): Command {
  return new Command('inspect')
    .description('Prints what a model or a dump holds. Reads headers only; needs no native addon.')
    .argument(
      '<path>',
      'a model folder (transformers or legacy layout), a GGUF file (of any architecture), or a dump (partial ones too)',
    )
    .option(
      '--taps <globs>',
      'list these taps: of a model with their shapes, of a dump with their statistics',
    )
    .option('--json', 'print the result as JSON')
    .addHelpText(
      'after',
      '\nExit code 1: the weights of a model do not fit its config (missing tensors or other shapes).' +
        '\n\nExample:\n  zayascope inspect dumps/tiny/reference-float32 --taps "layers.{0..2}.mlp.experts"',
    )
    .action((path: string, options: InspectOptions) => runInspect(path, options, context));
}

async function runInspect(path: string, options: InspectOptions, context: CommandContext): Promise<void> {
  const { terminal } = context;
  const print = <T>(summary: T, format: (summary: T) => string): void =>
    terminal.result(options.json ? toJson(summary) : format(summary));
  if ((await kindOf(path)) === 'dump') {
    const { formatDump, summariseDump } = await import('./inspect-dump.js');
    const summary = await summariseDump(path, options.taps);
    print(summary, formatDump);
    if (summary.files.some(({ isBad }) => isBad)) context.exitWith(1);
    return;
  }
  const { unknownGguf } = await import('../../models/layout/source.js');
  const gguf = await unknownGguf(path);
  if (gguf !== undefined) {
    if (options.taps !== undefined)
      throw badArgument(
        'inspect',
        '--taps of a model that a model file of ours computes',
        options.taps,
        gguf,
      );
    const { formatGguf, summariseGguf } = await import('./inspect-gguf.js');
    print(await summariseGguf(gguf), formatGguf);
  } else {
    const { formatModel, summariseModel } = await import('./inspect-model.js');
    const summary = await summariseModel(path, options.taps);
    print(summary, formatModel);
    if (summary.missing.length > 0 || summary.unfit.length > 0) context.exitWith(1);
  }
}

/** Mark folders that are neither. */
const OTHER_FOLDERS = ['index.jsonl', 'journey.json', 'repro.json'];

async function kindOf(path: string): Promise<'dump' | 'model'> {
  const found = await stat(path).catch(() => undefined);
  const names = found?.isDirectory() ? await readdir(path) : undefined;
  if (names?.includes('manifest.json')) return 'dump';
  const place = await describePlace(path);
  const isOther =
    (await describePart(path)) !== undefined || OTHER_FOLDERS.some((mark) => names?.includes(mark));
  if (found !== undefined && names?.length !== 0 && !isOther) return 'model';
  throw unmet(
    'IO',
    'inspect',
    'a model (a folder with config.json, a GGUF file) or a dump (a folder with manifest.json)',
    place,
    { where: path, tensor: path },
  );
}
