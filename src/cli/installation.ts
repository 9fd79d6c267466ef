import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { ZayascopeError } from '../errors.js';
import { native } from '../native.js';
import { formatBytes } from './format-number.js';
import { packageVersion } from './package-version.js';

/** Something that an installation consists of. */
export interface InstalledPart {
  name: string;
  /** `ok`; `missing` for what is optional; `broken` for what capture needs. */
  state: 'ok' | 'missing' | 'broken';
  /** What it is for, or which versions are there. */
  detail: string;
  /** The command that installs it, where it is absent. */
  fix?: string;
}

/** A device of a loaded ggml backend. */
export interface InstalledDevice {
  name: string;
  description: string;
  backend: string;
  memoryTotalBytes: number;
}

/** What {@link examine} finds. */
export interface Installation {
  /** By component, e.g. `{ zayascope: '0.1.0', node: '20.20.2', ggml: '0.5.0' }`. */
  versions: Record<string, string>;
  devices: readonly InstalledDevice[];
  /** Instruction sets that the loaded ggml CPU library was built for. */
  cpuFeatures: readonly string[];
  parts: readonly InstalledPart[];
}

const ROOT = fileURLToPath(new URL('../..', import.meta.url));
const PYTHON_PACKAGES = ['torch', 'transformers', 'pyarrow'];

/** Looks at this installation. What is absent or broken is reported, not thrown. */
export async function examine(): Promise<Installation> {
  const parts = [await pythonEnvironment(), ...gpuPackages()];
  const versions = {
    zayascope: packageVersion(),
    node: process.versions.node,
    platform: `${process.platform}-${process.arch}`,
  };
  try {
    const { ggml, commit } = native().version();
    const devices = native()
      .devices()
      .map(({ name, description, backend, memoryTotalBytes }) => ({
        name,
        description,
        backend,
        memoryTotalBytes,
      }));
    const features = Object.entries(native().cpuFeatures()).filter(([, value]) => value !== '0');
    return {
      versions: { ...versions, ggml: commit === '' ? ggml : `${ggml} (${commit})` },
      devices,
      cpuFeatures: features.map(([name, value]) => (value === '1' ? name : `${name}=${value}`)),
      parts: [{ name: 'native addon', state: 'ok', detail: deviceMemory(devices) }, ...parts],
    };
  } catch (error) {
    const detail = error instanceof ZayascopeError ? error.message : String(error);
    const addon: InstalledPart = {
      name: 'native addon',
      state: 'broken',
      detail,
      fix: 'npm run build:native',
    };
    return { versions, devices: [], cpuFeatures: [], parts: [addon, ...parts] };
  }
}

function deviceMemory(devices: readonly InstalledDevice[]): string {
  return devices.map(({ name, memoryTotalBytes }) => `${name} ${formatBytes(memoryTotalBytes)}`).join(', ');
}

/** The interpreter is asked for package versions without importing them: torch takes seconds. */
async function pythonEnvironment(): Promise<InstalledPart> {
  const python = process.env.ZAYASCOPE_PYTHON ?? join(ROOT, '.venv', 'bin', 'python');
  const script = `from importlib.metadata import version; print(*(f"{p} {version(p)}" for p in ${JSON.stringify(PYTHON_PACKAGES)}), sep=", ")`;
  try {
    const { stdout } = await promisify(execFile)(python, ['-c', script]);
    return { name: 'Python reference', state: 'ok', detail: stdout.trim() };
  } catch {
    return {
      name: 'Python reference',
      state: 'missing',
      detail: 'optional: dumps from PyTorch transformers',
      fix: 'node scripts/python-env.mjs',
    };
  }
}

/** GPU builds of ggml come as packages of their own, for this platform where there is one. */
function gpuPackages(): InstalledPart[] {
  if (process.platform !== 'linux' || process.arch !== 'x64') return [];
  const { version } = readPackage('@node-llama-cpp/linux-x64') ?? { version: 'latest' };
  const name = '@node-llama-cpp/linux-x64-vulkan';
  const detail = 'optional: Vulkan devices, which this version does not use yet';
  if (readPackage(name) !== undefined) return [{ name: 'Vulkan package', state: 'ok', detail }];
  return [{ name: 'Vulkan package', state: 'missing', detail, fix: `npm install ${name}@${version}` }];
}

function readPackage(name: string): { version: string } | undefined {
  const require = createRequire(import.meta.url);
  const folder = require.resolve
    .paths(name)
    ?.map((path) => join(path, name))
    .find((path) => existsSync(join(path, 'package.json')));
  return folder === undefined ? undefined : (require(join(folder, 'package.json')) as { version: string });
}
