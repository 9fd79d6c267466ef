import { Command } from 'commander';
import type { CommandContext } from '../command-line.js';
import { toJson } from '../json.js';
import { addCacheOptions, type CacheOptions } from '../options/cache.js';
import { addThreadsOption } from '../options/device.js';
import { addTokenOptions, resolveTokens, type TokenOptions } from '../options/tokens-or-prompt.js';
import { withProgress } from '../progress.js';
import { runCancellable } from '../run-cancellable.js';

interface InvarianceCommandOptions extends TokenOptions, CacheOptions {
  threads?: number;
  keep?: string;
  json?: boolean;
}

/** `zayascope invariance`: the same tokens in other calls. */
export function invarianceCommand(context: CommandContext): Command {
  const command = new Command('invariance')
    .description(
      'Runs the same tokens as one prefill, in chunks, token by token, in other micro-batches, on other threads and among other sequences: what equals what.',
    )
    .argument('<model>', 'GGUF file of any architecture that libllama knows');
  return addCacheOptions(addThreadsOption(addTokenOptions(command), 'half of the processors'))
    .option('--keep <folder>', 'keep the recordings here, for locate and diff')
    .option('--json', 'print the report as JSON')
    .addHelpText(
      'after',
      '\nExit code 1: a value parts by more than rounding explains: a state that is not carried, a wrong position, a' +
        '\nmask. Other bits alone are reported as they are.' +
        '\n\nExample:\n  zayascope invariance model.gguf --tokens 1,15,7,22,9,4',
    )
    .action((model: string, options: InvarianceCommandOptions) => runInvariance(model, options, context));
}

async function runInvariance(
  model: string,
  options: InvarianceCommandOptions,
  context: CommandContext,
): Promise<void> {
  const { terminal } = context;
  const { tokens } = await resolveTokens('invariance', options, model, terminal);
  const { checkInvariance } = await import('../../recording/invariance/invariance.js');
  const { formatInvariance } = await import('../../recording/invariance/format.js');
  const { threads, flashAttention, keyType, valueType, keep } = options;
  await runCancellable(context, async (signal) => {
    const report = await withProgress(terminal, 'invariance', 'schedules', (onProgress) =>
      checkInvariance({
        model,
        tokens,
        threads,
        flashAttention: flashAttention === true,
        keyType,
        valueType,
        keep,
        signal,
        onProgress,
      }),
    );
    if (options.json) terminal.result(toJson(report));
    else terminal.styledResult(formatInvariance(report, terminal.hasColor));
    if (report.found) context.exitWith(1);
  });
}
