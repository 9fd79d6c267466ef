import { stat } from 'node:fs/promises';
import { join } from 'node:path';
import { Command } from 'commander';
import { ZayascopeError } from '../errors.js';
import type { CommandContext } from './command-line.js';
import { toJson } from './json.js';

interface InspectOptions {
  taps?: string;
  json?: boolean;
}

/** `zayascope inspect`: what a model folder or a dump holds. */
export function inspectCommand(context: CommandContext): Command {
  return new Command('inspect')
    .description('Prints what a model folder or a dump holds. Reads headers only; needs no native addon.')
    .argument('<folder>', 'a model in the transformers layout, or a dump (partial ones too)')
    .option(
      '--taps <globs>',
      'list these taps: of a model with their shapes, of a dump with their statistics',
    )
    .option('--json', 'print the result as JSON')
    .addHelpText(
      'after',
      '\nExit code 1: the weights of a model do not fit its config (missing tensors or other shapes).' +
        '\n\nExample:\n  zayascope inspect dumps/tiny/float32 --taps "layers.{0..2}.mlp.experts"',
    )
    .action((folder: string, options: InspectOptions) => runInspect(folder, options, context));
}

async function runInspect(folder: string, options: InspectOptions, context: CommandContext): Promise<void> {
  const { terminal } = context;
  const print = <T>(summary: T, format: (summary: T) => string): void =>
    terminal.result(options.json ? toJson(summary) : format(summary));
  if (await exists(join(folder, 'manifest.json'))) {
    const { formatDump, summariseDump } = await import('./inspect-dump.js');
    print(await summariseDump(folder, options.taps), formatDump);
  } else if (await exists(join(folder, 'config.json'))) {
    const { formatModel, summariseModel } = await import('./inspect-model.js');
    const summary = await summariseModel(folder, options.taps);
    print(summary, formatModel);
    if (summary.missing.length > 0 || summary.unfit.length > 0) context.exitWith(1);
  } else
    throw new ZayascopeError(
      'IO',
      `inspect: expected a folder with config.json (a model) or manifest.json (a dump), got neither (${folder})`,
      { op: 'inspect', tensor: folder },
    );
}

async function exists(path: string): Promise<boolean> {
  return stat(path).then(
    () => true,
    () => false,
  );
}
