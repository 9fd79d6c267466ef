import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { ZayascopeError } from '../errors.js';
import { listDevices } from '../graph/backend.js';
import { backendKind, findBackendLibrary, loadBackendLibrary } from '../graph/backend-library.js';
import { buildCommand, native } from '../native.js';
import { packageVersion } from '../package-version.js';
import { formatBytes } from './format-number.js';
import { findLeftovers } from './leftovers.js';

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
  /** What killed runs left in the current folder, relative to it. */
  leftovers: readonly string[];
}

const ROOT = fileURLToPath(new URL('../..', import.meta.url));
const PYTHON_PACKAGES = ['torch', 'transformers', 'pyarrow'];

/** Looks at this installation. What is absent or broken is reported, not thrown. */
export async function examine(): Promise<Installation> {
  const python = await pythonEnvironment();
  const leftovers = await findLeftovers(process.cwd());
  const versions = {
    zayascope: packageVersion(),
    node: process.versions.node,
    platform: `${process.platform}-${process.arch}`,
  };
  try {
    const { ggml, commit } = native().version();
    const libraries = gpuLibraries();
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
      parts: [{ name: 'native addon', state: 'ok', detail: deviceMemory(devices) }, python, ...libraries],
      leftovers,
    };
  } catch (error) {
    const detail = error instanceof ZayascopeError ? error.message : String(error);
    const addon: InstalledPart = {
      name: 'native addon',
      state: 'broken',
      detail,
      fix: buildCommand(),
    };
    return { versions, devices: [], cpuFeatures: [], parts: [addon, python], leftovers };
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

/**
 * GPU builds of ggml: packages of their own, or a folder of the user's. Devices are found by loading the
 * libraries that are there.
 */
function gpuLibraries(): InstalledPart[] {
  const kinds = process.platform === 'darwin' ? ['metal'] : ['vulkan', 'cuda'];
  return kinds.map((kind): InstalledPart => {
    const name = `${NAMES[kind]} library`;
    const devices = (): string[] =>
      listDevices()
        .map((device) => device.name)
        .filter((each) => backendKind(each) === kind);
    if (devices().length > 0) return { name, state: 'ok', detail: devices().join(', ') };
    const { file, problem, fix, package: from } = findBackendLibrary(kind);
    if (file === undefined)
      return {
        name,
        state: 'missing',
        detail: `optional: ${NAMES[kind]} devices; ${problem}`,
        fix: fix ?? 'a build of ggml of the version above, in the folder that ZAYASCOPE_GGML_DIR names',
      };
    try {
      loadBackendLibrary(kind, {});
    } catch (error) {
      return { name, state: 'ok', detail: `${from ?? file}: ${(error as Error).message}` };
    }
    const found = devices();
    return {
      name,
      state: 'ok',
      detail: `${from ?? file}: ${found.length > 0 ? found.join(', ') : NO_GPU}`,
    };
  });
}

const NO_GPU = 'no GPU found; --backend lavapipe computes on the CPU with it, where Mesa is installed';
const NAMES: Readonly<Record<string, string>> = { vulkan: 'Vulkan', cuda: 'CUDA', metal: 'Metal' };
