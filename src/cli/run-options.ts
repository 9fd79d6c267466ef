import type { Command } from 'commander';
import { POLICIES } from '../graph/policy.js';
import { integerOption } from './option-values.js';

/** What {@link addRunOptions} adds to a command's options. */
export interface RunOptions {
  policy: string;
  backend: string;
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
    .option('--backend <name>', 'backend or device, as `zayascope doctor` lists them', 'cpu')
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

/** The options as `openZaya` takes them. */
export function openOptions({ policy, backend, threads, repack }: RunOptions) {
  return { policy, backend, repack: repack ?? false, ...(threads === undefined ? {} : { threads }) };
}
