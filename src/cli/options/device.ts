import type { Command } from 'commander';
import { integerOption } from './values.js';

/** What `--strict-f32` does, in every command that has it. */
export const STRICT_HELP = 'multiply F32 as F32 on GPUs that would round the operands to F16';

/** What {@link addDeviceOptions} adds to a command's options. */
export interface DeviceOptions {
  backend: string;
  strictF32?: boolean;
  threads?: number;
}

/**
 * Adds the options that say on which device a command computes.
 * @param hasStrictF32 whether `--strict-f32` is one of them. Default true.
 * @param threads the default of `--threads` in words. Default: what opening a model takes.
 */
export function addDeviceOptions(
  command: Command,
  { hasStrictF32 = true, threads = 'all; 1 for weights below 64 MB' } = {},
): Command {
  command.option(
    '--backend <name>',
    'cpu, vulkan, cuda, metal, lavapipe, or a device that `zayascope doctor` lists',
    'cpu',
  );
  if (hasStrictF32) command.option('--strict-f32', STRICT_HELP);
  return addThreadsOption(command, threads);
}

/** Adds `--threads` alone. @param fallback its default in words. */
export function addThreadsOption(command: Command, fallback: string): Command {
  return command.option(
    '--threads <count>',
    `CPU threads, 1 to 512 (default: ${fallback})`,
    integerOption(1, 512),
  );
}

/**
 * Loads the device's library with the settings of a command that opens its models elsewhere: they hold for
 * the whole process.
 */
export async function prepareDevice({ backend, strictF32 }: DeviceOptions): Promise<void> {
  if (!strictF32) return;
  const { openBackend } = await import('../../graph/backend.js');
  openBackend(backend, { strictF32 }).close();
}
