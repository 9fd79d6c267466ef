import { execFile } from 'node:child_process';
import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';

export const root = join(import.meta.dirname, '..', '..');
export const tinyModel = join(root, 'dumps', 'tiny', 'model');
export const promptFile = join(root, 'dumps', 'tiny', 'prompt.json');
export const vulkanPackage = join(
  root,
  'node_modules/@node-llama-cpp/linux-x64-vulkan/bins/linux-x64-vulkan',
);

export const onTiny = ['--model', tinyModel, '--tokens-file', promptFile];
export const onLavapipe = ['--backend', 'lavapipe'];
export const strict = [...onLavapipe, '--strict-f32'];

/** F32 sums in another order: the CPU is held to the same limit against PyTorch. */
export const LIMIT = 1e-10;

/** True where Mesa's Vulkan device on the CPU and ggml's Vulkan library are installed. */
export function hasLavapipe(): boolean {
  const folder = '/usr/share/vulkan/icd.d';
  return (
    existsSync(vulkanPackage) &&
    existsSync(folder) &&
    readdirSync(folder).some((name) => name.startsWith('lvp_'))
  );
}

/** How a child process ended. */
export interface Ended {
  /** Exit code; the signal's name where one ended it. */
  code: number | string;
  stdout: string;
  stderr: string;
}

/** Runs the built command line in a process of its own: a driver that crashes takes no test with it. */
export function zayascope(args: readonly string[], env: Record<string, string> = {}): Promise<Ended> {
  return node(join(root, 'dist', 'cli', 'main.js'), args, env);
}

/** Runs a program of `test/gpu/programs`. */
export function program(name: string, args: readonly string[] = []): Promise<Ended> {
  return node(join(import.meta.dirname, 'programs', name), args, {});
}

async function node(file: string, args: readonly string[], env: Record<string, string>): Promise<Ended> {
  try {
    const options = { env: { ...process.env, ...env }, maxBuffer: 2 ** 28 };
    return { code: 0, ...(await promisify(execFile)(process.execPath, [file, ...args], options)) };
  } catch (error) {
    const { code, signal, stdout = '', stderr = '' } = error as Partial<Ended> & { signal?: string };
    return { code: code ?? signal ?? 'unknown', stdout, stderr };
  }
}
