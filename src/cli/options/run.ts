import type { Command } from 'commander';
import { listPresets } from '../../graph/policy.js';
import { addDeviceOptions, type DeviceOptions } from './device.js';

/** What {@link addRunOptions} adds to a command's options. */
export interface RunOptions extends DeviceOptions {
  policy: string;
  repack?: boolean;
}

/** Names of presets, and of which models those are that not all models have. */
function presetNames(): string {
  const typesOf = new Map<string, string[]>();
  for (const { name, models } of listPresets()) typesOf.set(name, [...(typesOf.get(name) ?? []), ...models]);
  const all = new Set([...typesOf.values()].flat()).size;
  return [...typesOf]
    .map(([name, models]) => (models.length === all ? name : `${name} (${models.join(', ')} only)`))
    .join(', ');
}

/** Adds the options that say how a model is run. @param policy default of `--policy`. */
export function addRunOptions(command: Command, policy = 'f32'): Command {
  command.option(
    '--policy <name>',
    `dtypes of the run: ${presetNames()}, or a .json file; NAME:stochastic=SEED rounds up or down by chance`,
    policy,
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
