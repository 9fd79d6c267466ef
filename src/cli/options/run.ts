import type { Command } from 'commander';
import { POLICIES } from '../../graph/policy.js';
import { addDeviceOptions, type DeviceOptions } from './device.js';

/** What {@link addRunOptions} adds to a command's options. */
export interface RunOptions extends DeviceOptions {
  policy: string;
  repack?: boolean;
}

/** Adds the options that say how a model is run. */
export function addRunOptions(command: Command): Command {
  command.option(
    '--policy <name>',
    `dtypes of the run: ${Object.keys(POLICIES).join(', ')}, or a .json file`,
    'f32',
  );
  return addDeviceOptions(command).option(
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
    strictF32,
    threads,
  };
}
