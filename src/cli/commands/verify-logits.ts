import { Command } from 'commander';
import type { RawDtype } from '../../dump/import/raw-dtype.js';
import type { CommandContext } from '../command-line.js';
import { toJson } from '../json.js';
import { allowNonFiniteOption } from '../options/dump-pair.js';
import { integerOption, rawDtypes, thresholdOption } from '../options/values.js';

interface VerifyLogitsOptions {
  all?: boolean;
  vocabulary?: number;
  dtype?: readonly [RawDtype, RawDtype];
  map?: string;
  failAbove: number;
  allowNonfinite?: boolean;
  json?: boolean;
}

/** `zayascope verify-logits`: the check that ports of a model are accepted by. */
export function verifyLogitsCommand(context: CommandContext): Command {
  return new Command('verify-logits')
    .description(
      "Checks final logits against a reference's, as llama.cpp's conversion scripts do. Needs no native addon.",
    )
    .argument(
      '<reference>',
      'dump with lm_head, raw F32 file (data/pytorch-NAME.bin), or another file of logits',
    )
    .argument(
      '<tested>',
      'dump with lm_head, raw F32 file (data/llamacpp-NAME.bin), or another file of logits',
    )
    .option('--all', 'all positions, aggregated (default: the last token)')
    .option(
      '--vocabulary <count>',
      'logits of one token in raw files that hold several (default: a raw file is one token)',
      integerOption(1, 2 ** 31 - 1),
    )
    .option(
      '--dtype <dtype>',
      'what raw files hold: f32, bf16, f16 or f64; of each side: f32,bf16 (default: f32, unless their bits show another)',
      rawDtypes,
    )
    .option('--map <map>', 'names of the tested dump, as in diff; both sides must be dumps')
    .option('--fail-above <nmse>', 'largest variance NMSE that passes', thresholdOption, 1e-2)
    .addOption(allowNonFiniteOption())
    .option('--json', 'print the result as JSON')
    .addHelpText(
      'after',
      '\nNMSE here is MSE / variance of the reference: below 1e-6 essentially identical, 1e-4 excellent, 1e-3 very' +
        '\ngood, 1e-2 good, 0.1 acceptable, 1 poor, beyond worse than random. Of NAME.bin, token ids are read from' +
        '\nNAME-tokens.bin. Other files: what import reads (.npy, .npz, safetensors, .pt, the .txt of the scripts), with' +
        '\none value of floats or one named lm_head or logits; and files of llama-perplexity (--kl-divergence-base),' +
        '\nwhose log-probabilities are compared as such, at all positions that both sides have. A vocabulary trimmed on' +
        '\none side is compared up to its end, and passes where that leaves out padding only: at most a tenth of the' +
        '\nlogits and 1 % of the probability. Exit code 1: the check fails, a logit is NaN or infinite (or, of a dump,' +
        '\nanything else), other tokens were fed, or a run did not finish.' +
        '\n\nExample:\n  zayascope verify-logits data/pytorch-ZAYA1-8B.bin data/llamacpp-ZAYA1-8B.bin',
    )
    .action((reference: string, tested: string, options: VerifyLogitsOptions) =>
      runVerifyLogits(reference, tested, options, context),
    );
}

async function runVerifyLogits(
  referencePath: string,
  testedPath: string,
  { all = false, vocabulary, dtype, map, failAbove, allowNonfinite = false, json }: VerifyLogitsOptions,
  { terminal, exitWith }: CommandContext,
): Promise<void> {
  const { readNameMap } = await import('../../dump/names/file.js');
  const { verifyLogits } = await import('../../diff/logits/verify-logits.js');
  const { formatLogitsCheck } = await import('../../diff/format/logits-check.js');
  const report = await verifyLogits(referencePath, testedPath, {
    all,
    failAbove,
    allowNonFinite: allowNonfinite,
    vocabulary,
    dtype,
    map: map === undefined ? undefined : await readNameMap(map),
  });
  if (json) terminal.result(toJson(report));
  else terminal.styledResult(formatLogitsCheck(report, terminal.hasColor));
  if (!report.pass) exitWith(1);
}
