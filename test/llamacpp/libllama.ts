/**
 * Small C++ programs over the prebuilt libllama, which lives in child programs because it aborts on bad
 * input.
 */
import { execFileSync, spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, symlinkSync } from 'node:fs';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';

const root = join(import.meta.dirname, '..', '..');
const platform = `linux-${process.arch}`;
const libraries = join(root, 'node_modules', '@node-llama-cpp', platform, 'bins', platform);
const compiler = process.env.CXX ?? 'g++';

/** Whether the prebuilt libllama of Linux and a C++ compiler are here. */
export const hasLibllama =
  existsSync(join(libraries, 'libllama.v0.5.0.so')) && spawnSync(compiler, ['--version']).status === 0;

/**
 * Lays out a folder as a checkout of llama.cpp that was built: headers, and libraries by their plain names.
 */
export async function layOutLlama(folder: string): Promise<void> {
  const { headers, links } = await sources();
  mkdirSync(join(folder, 'ggml'), { recursive: true });
  mkdirSync(join(folder, 'build', 'bin'), { recursive: true });
  symlinkSync(headers[0]!, join(folder, 'include'));
  symlinkSync(headers[1]!, join(folder, 'ggml', 'include'));
  for (const file of links) {
    symlinkSync(join(libraries, file), join(folder, 'build', 'bin', file));
    const plain = file.replace(/\.v[\d.]+\.so$/, '.so');
    if (plain !== file) symlinkSync(join(libraries, file), join(folder, 'build', 'bin', plain));
  }
}

/** Folders of headers, and names of libraries. */
async function sources(): Promise<{ headers: string[]; links: string[] }> {
  const script = pathToFileURL(join(root, 'native', 'fetch-headers.mjs')).href;
  const { ggmlSource, llamaHeaders } = (await import(script)) as Record<string, () => string>;
  return {
    headers: [llamaHeaders!(), join(ggmlSource!(), 'include')],
    links: ['libllama.v0.5.0.so', 'libggml.v0.5.0.so', 'libggml-base.so'],
  };
}

/** The environment in which a program finds a CPU backend: ggml looks beside the program itself. */
export function backendEnvironment(): NodeJS.ProcessEnv {
  const backends = readdirSync(libraries).filter((file) => file.startsWith('libggml-cpu-'));
  const backend = process.arch === 'x64' ? 'libggml-cpu-x64.so' : backends.sort()[0]!;
  return { ...process.env, GGML_BACKEND_PATH: join(libraries, backend) };
}

/** Compiles a program against libllama and ggml of the release that the prebuilt libraries are of. */
export async function compileProgram(source: string, out: string, includes: string[] = []): Promise<void> {
  const { headers, links } = await sources();
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

/** Paths of the prebuilt libraries whose names begin so. */
export function libllamaFiles(prefix: string): string[] {
  return readdirSync(libraries)
    .filter((file) => file.startsWith(prefix))
    .map((file) => join(libraries, file));
}

/** Runs a compiled program. @param options `beside`: it takes the best CPU backend that lies beside it. */
export function runProgram(
  program: string,
  args: readonly string[],
  input = '',
  { beside = false } = {},
): { status: number | null; stdout: string; stderr: string } {
  const env = beside ? process.env : backendEnvironment();
  return spawnSync(program, args, { encoding: 'utf8', env, input, timeout: 60_000, maxBuffer: 1 << 26 });
}
