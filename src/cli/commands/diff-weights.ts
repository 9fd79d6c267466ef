import { Command } from 'commander';
import type { CommandContext } from '../command-line.js';
import { toJson } from '../json.js';
import { allowNonFiniteOption } from '../options/dump-pair.js';
import { thresholdOption } from '../options/values.js';
import { withProgress } from '../progress.js';
import { noticeUnusedBlocks } from '../unused-blocks-notice.js';

interface DiffWeightsCommandOptions {
  tensors: string;
  failAbove?: number;
  allowNonfinite?: boolean;
  byContent?: boolean;
  all?: boolean;
  json?: boolean;
}

/** `zayascope diff-weights`: compares the weights of two models. */
export function diffWeightsCommand(context: CommandContext): Command {
  return new Command('diff-weights')
    .description(
      'Compares every tensor of two models in any layout and dtype: the first thing to check of a conversion.',
    )
    .argument('<reference>', 'model folder (transformers or legacy layout) or GGUF file that counts as right')
    .argument('<tested>', 'model folder or GGUF file to judge')
    .option(
      '--fail-above <nmse>',
      'largest energy NMSE (error power / reference power) that a tensor may have (default: report only)',
      thresholdOption,
    )
    .option(
      '--tensors <globs>',
      'tensors to compare, as globs over names of the transformers layout, e.g. "model.layers.{0..3}.mlp.**"',
      '**',
    )
    .addOption(allowNonFiniteOption())
    .option(
      '--by-content',
      'pair tensors by what they hold, not by name (default: where the family of one is not known)',
    )
    .option('--all', 'list every tensor, not only the worst')
    .option('--json', 'print all metrics of all tensors as JSON')
    .addHelpText(
      'after',
      '\nNames of ZAYA and Qwen3 are known; any other two models are paired by content: rows in another order (the' +
        '\nrotation of q and k), joined and parted tensors, stacks of experts, transposes, norms plus 1.' +
        '\nGGUF names are mapped, quantised values dequantised (both need the native addon). Exit code 1: a tensor' +
        '\nexceeds --fail-above, has NaN or infinities, is on one side only, or differs in shape; a vocabulary that one' +
        '\nside has trimmed is compared up to its end.' +
        '\n\nExample:\n  zayascope diff-weights ZAYA1-8B ZAYA1-8B-Q8_0.gguf --fail-above 1e-4',
    )
    .action((reference: string, tested: string, options: DiffWeightsCommandOptions) =>
      runDiffWeights(reference, tested, options, context),
    );
}

async function runDiffWeights(
  referencePath: string,
  testedPath: string,
  { tensors, failAbove, allowNonfinite = false, byContent = false, all, json }: DiffWeightsCommandOptions,
  { terminal, exitWith }: CommandContext,
): Promise<void> {
  const { isKnownFamily } = await import('../../weights-diff/content/raw-weights.js');
  const { diffWeightsByContent } = await import('../../weights-diff/content/diff-by-content.js');
  const { openModelSource } = await import('../../models/layout/source.js');
  const { diffWeights } = await import('../../weights-diff/diff-weights.js');
  const { formatWeightsDiff } = await import('../../weights-diff/format-weights-diff.js');
  const isByContent =
    byContent || !(await isKnownFamily(referencePath)) || !(await isKnownFamily(testedPath));
  for (const path of [referencePath, testedPath]) await noticeUnusedBlocks(terminal, path);
  const report = await withProgress(terminal, 'diff-weights', 'tensors', async (onProgress) => {
    const settings = { tensors, allowNonFinite: allowNonfinite, onProgress, failAbove };
    if (isByContent) return diffWeightsByContent(referencePath, testedPath, settings);
    return diffWeights(await openModelSource(referencePath), await openModelSource(testedPath), settings);
  });
  const options = { color: terminal.hasColor, verbose: all === true };
  if (json) terminal.result(toJson(report));
  else terminal.styledResult(formatWeightsDiff(report, options));
  if (!report.pass) exitWith(1);
}
