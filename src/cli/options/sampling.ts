import { type Command, InvalidArgumentError, Option } from 'commander';
import type { Sampler, SamplingOptions } from '../../text/sampling.js';
import { integerOption } from './values.js';

/** What {@link addSamplingOptions} adds to a command's options. */
export interface SamplingCommandOptions extends SamplingOptions {
  greedy?: boolean;
}

/** Adds the options that say how tokens are drawn. */
export function addSamplingOptions(command: Command): Command {
  const drawing = ['temperature', 'topK', 'topP', 'seed'];
  return command
    .addOption(
      new Option('--greedy', 'the likeliest token, always (default without the options below)').conflicts(
        drawing,
      ),
    )
    .option('--temperature <number>', 'draw, with logits divided by this', positive)
    .option('--top-k <count>', 'draw from this many of the likeliest tokens', integerOption(1, 2 ** 31 - 1))
    .option('--top-p <share>', 'draw from the fewest tokens that have this probability together', share)
    .option(
      '--seed <integer>',
      'of the draws (default: random, and printed); the same seed repeats a run',
      integerOption(0, 2 ** 32 - 1),
    );
}

/** The sampler asked for, and its description for the output. */
export async function resolveSampling(
  options: SamplingCommandOptions,
): Promise<{ sampler: Sampler; description: object }> {
  const { greedy, sampler } = await import('../../text/sampling.js');
  const { temperature, topK, topP, seed } = options;
  const chosen = Object.entries({ temperature, topK, topP, seed }).filter(([, value]) => value !== undefined);
  if (chosen.length === 0) return { sampler: greedy, description: { greedy: true } };
  const description: SamplingOptions = {
    seed: Math.floor(Math.random() * 2 ** 32),
    ...Object.fromEntries(chosen),
  };
  return { sampler: sampler(description), description };
}

function positive(text: string): number {
  const value = Number(text);
  if (text.trim() === '' || !Number.isFinite(value) || value <= 0)
    throw new InvalidArgumentError('Expected a number above 0.');
  return value;
}

function share(text: string): number {
  const value = positive(text);
  if (value > 1) throw new InvalidArgumentError('Expected a number above 0 and up to 1.');
  return value;
}
