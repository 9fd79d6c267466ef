import type { Command } from 'commander';
import { POLICIES } from '../../graph/policy.js';
import { integerOption } from './values.js';

/** What `--backend` takes, in every command that has it. */
export const BACKEND_HELP = 'cpu, vulkan, cuda, metal, lavapipe, or a device that `zayascope doctor` lists';
/** What `--strict-f32` does, in every command that has it. */
export const STRICT_HELP = 'multiply F32 as F32 on GPUs that would round the operands to F16';

/** What {@link addRunOptions} adds to a command's options. */
export interface RunOptions {
  policy: string;
  backend: string;
  strictF32?: boolean;
  threads?: number;
  repack?: boolean;
}

/** Adds the options that say how a model is run. */
export function addRunOptions(command: Command): Command {
  return command
    .option(
      '--policy <name>',
      `dtypes of the run: ${Object.keys(POLICIES).join(', ')}, or a .json file`,
      'f32',
    )
    .option('--backend <name>', BACKEND_HELP, 'cpu')
    .option('--strict-f32', STRICT_HELP)
    .option(
      '--threads <count>',
      'CPU threads, 1 to 512 (default: all; 1 for weights below 64 MB)',
      integerOption(1, 512),
    )
    .option(
      '--repack',
      "copy matmul weights into ggml's faster layouts, where the CPU has one for their dtype",
    );
}

/** The options as `openModel` takes them. */
export function openOptions({ policy, backend, strictF32, threads, repack }: RunOptions) {
  return {
    policy,
    backend,
    repack: repack ?? false,
    ...(strictF32 ? { strictF32 } : {}),
    ...(threads === undefined ? {} : { threads }),
  };
}

/**
 * Loads the device's library with the settings of a command that opens its models elsewhere: they hold for
 * the whole process.
 */
export async function prepareDevice({
  backend,
  strictF32,
}: Pick<RunOptions, 'backend' | 'strictF32'>): Promise<void> {
  if (!strictF32) return;
  const { openBackend } = await import('../../graph/backend.js');
  openBackend(backend, { strictF32 }).close();
}
