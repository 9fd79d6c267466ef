/**
 * Small C++ programs over the prebuilt libllama, which lives in child programs because it aborts on bad
 * input.
 */
import { execFileSync, spawnSync } from 'node:child_process';
import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';

const root = join(import.meta.dirname, '..', '..');
const platform = `linux-${process.arch}`;
const libraries = join(root, 'node_modules', '@node-llama-cpp', platform, 'bins', platform);
const compiler = process.env.CXX ?? 'g++';

/** Whether the prebuilt libllama of Linux and a C++ compiler are here. */
export const hasLibllama =
  existsSync(join(libraries, 'libllama.v0.5.0.so')) && spawnSync(compiler, ['--version']).status === 0;

/** Compiles a program against libllama and ggml of the release that the prebuilt libraries are of. */
export async function compileProgram(source: string, out: string, includes: string[] = []): Promise<void> {
  const script = pathToFileURL(join(root, 'native', 'fetch-headers.mjs')).href;
  const { ggmlSource, llamaHeaders } = (await import(script)) as Record<string, () => string>;
  const headers = [llamaHeaders!(), join(ggmlSource!(), 'include')];
  const links = ['libllama.v0.5.0.so', 'libggml.v0.5.0.so', 'libggml-base.so'];
  execFileSync(compiler, [
    '-std=c++17',
    ...['-Wall', '-Wextra', '-Wpedantic', '-Werror'],
    ...includes.flatMap((include) => ['-I', include]),
    ...headers.flatMap((include) => ['-isystem', include]),
    source,
    '-o',
    out,
    ...links.map((file) => join(libraries, file)),
    `-Wl,-rpath,${libraries}`,
  ]);
}

/** Runs a compiled program. */
export function runProgram(
  program: string,
  args: readonly string[],
  input = '',
): { status: number | null; stdout: string; stderr: string } {
  // ggml looks for its backends beside the program; this names one of the prebuilt ones.
  const backends = readdirSync(libraries).filter((file) => file.startsWith('libggml-cpu-'));
  const backend = process.arch === 'x64' ? 'libggml-cpu-x64.so' : backends.sort()[0]!;
  const env = { ...process.env, GGML_BACKEND_PATH: join(libraries, backend) };
  return spawnSync(program, args, { encoding: 'utf8', env, input, timeout: 60_000, maxBuffer: 1 << 26 });
}
