import type { Command } from 'commander';
import { badArgument } from '../../errors.js';
import type { PolicyProblem } from '../../locate/replay/policy-tests.js';
import type { Terminal } from '../terminal.js';
import { addDeviceOptions, type DeviceOptions, prepareDevice } from './device.js';
import { addTokenOptions, resolveTokens, type TokenOptions } from './tokens-or-prompt.js';

/** What {@link addPolicyPairOptions} adds to a command's options. */
export interface PolicyPairOptions extends TokenOptions, DeviceOptions {
  model: string;
  good: string;
  bad: string;
  reference?: string;
}

/** Adds the options that say which two policies are compared on which prompt. */
export function addPolicyPairOptions(command: Command): Command {
  command
    .requiredOption('--model <path>', 'model folder or GGUF file')
    .requiredOption('--good <policy>', 'preset or .json file that is taken for right')
    .requiredOption('--bad <policy>', 'preset or .json file that drifts');
  addTokenOptions(command).option(
    '--reference <dump>',
    "measure errors against this dump's lm_head instead of the good run's logits; it also gives the tokens",
  );
  return addDeviceOptions(command);
}

/**
 * The problem that the user described.
 * @param op name of the command, for errors. @throws `BAD_ARGUMENT` for no tokens, or others than the
 * reference's; what reading policies and dumps throws.
 */
export async function policyProblem(
  op: string,
  options: PolicyPairOptions,
  terminal: Terminal,
): Promise<PolicyProblem> {
  const { loadPolicy } = await import('../../graph/policy.js');
  const { model } = options;
  await prepareDevice(options);
  const [good, bad] = [await loadPolicy(options.good), await loadPolicy(options.bad)];
  const isGiven = [options.tokens, options.tokensFile, options.prompt].some((value) => value !== undefined);
  const reference = options.reference === undefined ? undefined : await readReference(op, options.reference);
  const tokens =
    isGiven || reference === undefined
      ? (await resolveTokens(op, options, model, terminal)).tokens
      : reference.tokens;
  if (reference === undefined) return { model, tokens, good, bad };
  if (tokens.join() !== reference.tokens.join())
    throw badArgument(
      op,
      `the ${reference.tokens.length} tokens of the reference`,
      `${tokens.length} others`,
      `${options.reference}`,
    );
  return { model, tokens, good, bad, reference: reference.logits };
}

/** Tokens and logits of a dump's first sequence. */
export async function readReference(
  op: string,
  folder: string,
): Promise<{ tokens: number[]; logits: Float32Array }> {
  const { Dump } = await import('../../dump/reader.js');
  const { familyOf } = await import('../../dump/roles.js');
  const { hasRole } = await import('../../families/roles.js');
  const { toFloat32 } = await import('../../dump/float.js');
  await using dump = await Dump.open(folder);
  const tokens = dump.manifest.sequences[0]?.tokens ?? [];
  const logits = dump.taps.find(({ name }) => hasRole(familyOf(dump.manifest), 'logits', name));
  const name = logits?.name ?? 'lm_head';
  const { data, dtype, shape } = await dump.read(name, { sequence: 0 });
  if (shape[0] !== tokens.length)
    throw badArgument(
      op,
      `a dump with ${name} at all ${tokens.length} positions of its sequence`,
      `${shape[0]}`,
      folder,
    );
  return { tokens: [...tokens], logits: toFloat32(data, dtype).slice() };
}
