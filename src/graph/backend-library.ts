import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { unmet, ZayascopeError } from '../errors.js';
import { native, platformPackage } from '../native.js';

const OP = 'openBackend';

/** What a backend library reads when it loads, once for the whole process. */
export interface DeviceSettings {
  /**
   * F32 products of F32 operands. Devices with half-width arithmetic round the operands otherwise. Default
   * false: the device's own way.
   */
  strictF32: boolean;
  /** Lets the device compute neighbouring nodes in one kernel. Default true. */
  fusion: boolean;
}

/** How a kind of backend is told about {@link DeviceSettings}; kinds that are absent have no such switch. */
const VARIABLES: Readonly<Record<string, { strictF32: Environment; noFusion: Environment }>> = {
  vulkan: { strictF32: { GGML_VK_DISABLE_F16: '1' }, noFusion: { GGML_VK_DISABLE_FUSION: '1' } },
  cuda: { strictF32: { NVIDIA_TF32_OVERRIDE: '0' }, noFusion: { GGML_CUDA_DISABLE_FUSION: '1' } },
  metal: { strictF32: {}, noFusion: { GGML_METAL_FUSION_DISABLE: '1' } },
};
type Environment = Readonly<Record<string, string>>;

/** Kinds whose device names do not begin with the name of their library. */
const ALIASES: Readonly<Record<string, string>> = { rocm: 'hip', mtl: 'metal', lavapipe: 'vulkan' };

/** Packages with ready-made libraries, by platform and kind. */
const PACKAGES: Readonly<Record<string, Readonly<Record<string, readonly string[]>>>> = {
  'linux-x64': {
    vulkan: ['@node-llama-cpp/linux-x64-vulkan'],
    cuda: ['@node-llama-cpp/linux-x64-cuda', '@node-llama-cpp/linux-x64-cuda-ext'],
  },
};

/** Kinds of backends that ggml has libraries for. */
const KINDS: ReadonlySet<string> = new Set(['cuda', 'hip', 'metal', 'musa', 'opencl', 'sycl', 'vulkan']);

/** The kind of backend behind a backend's or a device's name: `vulkan` for `Vulkan1`. */
export function backendKind(name: string): string {
  const kind = name.toLowerCase().replace(/[\d:]+$/, '');
  return ALIASES[kind] ?? kind;
}

/** True for a kind of backend whose library is loaded when it is asked for. */
export function hasLibrary(kind: string): boolean {
  return KINDS.has(kind);
}

/** Where a backend library is, or what is to be done to have one. */
export interface FoundLibrary {
  kind: string;
  /** Absent if there is none. */
  file?: string;
  /** Name and version of the package that it is from; absent for a folder of the user's. */
  package?: string;
  /** Why there is none that can be used, in words. */
  problem?: string;
  /** The command that installs it, where there is one. */
  fix?: string;
}

/**
 * Looks for the library of a kind of backend: in the folder that `ZAYASCOPE_GGML_DIR` names, then in the
 * packages of this platform. Loads nothing. A library of another ggml version is a `problem`: it would read
 * our structures wrongly.
 */
export function findBackendLibrary(kind: string): FoundLibrary {
  const folder = process.env.ZAYASCOPE_GGML_DIR;
  if (folder !== undefined && folder !== '') {
    const found = inFolder(kind, folder, [native().version().ggml]);
    if (found !== undefined) return found;
  }
  const packages = PACKAGES[`${process.platform}-${process.arch}`]?.[kind] ?? [];
  for (const name of packages) {
    const root = packageFolder(name);
    if (root === undefined) continue;
    const { version } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as { version: string };
    for (const each of foldersBelow(join(root, 'bins'))) {
      const { ggml, commit } = native().version();
      const found = inFolder(kind, each, [ggml, commit]);
      if (found !== undefined) return { ...found, package: `${name} ${version}` };
    }
  }
  if (packages.length === 0)
    return {
      kind,
      problem: `no package for ${kind} on ${process.platform}-${process.arch}; set ZAYASCOPE_GGML_DIR to a folder with libggml-${kind} of ggml ${native().version().ggml}`,
    };
  return {
    kind,
    problem: `the package ${packages[0]} is not installed`,
    fix: `npm install ${packages[0]}@${ownPackageVersion()}`,
  };
}

function inFolder(kind: string, folder: string, marks: readonly string[]): FoundLibrary | undefined {
  if (!existsSync(folder)) return { kind, problem: `the folder ${folder} does not exist` };
  const names = readdirSync(folder);
  const library = names.find((name) => new RegExp(`^(lib)?ggml-${kind}\\.(so|dylib|dll)$`).test(name));
  if (library === undefined) return undefined;
  const base = names.find((name) => /^(lib)?ggml-base\.(so|dylib|dll)/.test(name));
  const file = join(folder, library);
  if (base === undefined)
    return { kind, problem: `${file} has no libggml-base beside it, so that its ggml version is unknown` };
  // The version is read from the file: loading another version would already run its code.
  const bytes = readFileSync(join(folder, base));
  if (marks.every((mark) => mark === '' || bytes.includes(`${mark}\0`))) return { kind, file };
  const { ggml, commit } = native().version();
  return {
    kind,
    problem: `${file} is not of ggml ${ggml}${marks.length > 1 ? ` (${commit})` : ''}, which is loaded`,
  };
}

/** What has been loaded, and with which settings. */
const loaded = new Map<string, DeviceSettings>();

/**
 * Loads the library of a kind of backend, once a process. Settings reach it through environment variables,
 * which it reads as it loads; variables that are set already stay. A setting that is absent is what the
 * library was loaded with, or the default.
 *
 * @throws `BACKEND` when there is none of the right ggml version, it does not load, or it was loaded with
 * other settings.
 */
export function loadBackendLibrary(kind: string, wanted: Partial<DeviceSettings>): void {
  const before = loaded.get(kind);
  const { strictF32 = before?.strictF32 ?? false, fusion = before?.fusion ?? true } = wanted;
  const settings = { strictF32, fusion };
  if (before !== undefined) {
    if (before.strictF32 === settings.strictF32 && before.fusion === settings.fusion) return;
    throw unmet(
      'BACKEND',
      OP,
      `the settings that ${kind} was loaded with in this process (${inWords(before)})`,
      `${inWords(settings)}; use another process`,
    );
  }
  // Read when a library loads, or when its first device opens.
  for (const [name, value] of Object.entries(environment(kind, settings))) process.env[name] ??= value;
  // On some platforms, and in a build of ggml's source, the library lies beside the CPU's and has been loaded
  // with it.
  const isPresent = native()
    .devices()
    .some(({ name }) => backendKind(name) === kind);
  if (isPresent) {
    loaded.set(kind, settings);
    return;
  }
  const { file, problem, fix } = findBackendLibrary(kind);
  if (file === undefined)
    throw new ZayascopeError(
      'BACKEND',
      `${OP}: expected a ggml library for ${kind}, got none: ${problem}${fix === undefined ? '' : `; run \`${fix}\``}`,
      { op: OP },
    );
  try {
    native().loadBackend(file);
  } catch (cause) {
    throw new ZayascopeError('BACKEND', `${OP}: ${notLoaded(kind, (cause as Error).message)}`, {
      op: OP,
      cause,
    });
  }
  loaded.set(kind, settings);
}

function environment(kind: string, { strictF32, fusion }: DeviceSettings): Environment {
  const variables = VARIABLES[kind];
  return { ...(strictF32 ? variables?.strictF32 : {}), ...(fusion ? {} : variables?.noFusion) };
}

/** ggml's message, in words where the reason is known. */
function notLoaded(kind: string, message: string): string {
  const reason = message.replace(/^.*?got: (load_backend: )?/, '');
  if (message.includes('ggml_backend_init returned NULL'))
    return `expected a ${kind} device, got none: the library found no driver and no GPU on this machine`;
  const missing = /(\S+\.so[\d.]*): cannot open shared object file/.exec(message);
  if (missing !== null && !missing[1]!.includes('ggml'))
    return `expected the system library ${missing[1]}, which ${kind} needs, got none; install its driver package`;
  return `expected a library for ${kind} that loads, got: ${reason}`;
}

function inWords({ strictF32, fusion }: DeviceSettings): string {
  return `${strictF32 ? 'strict F32' : 'F32 the way of the device'}, fusion ${fusion ? 'on' : 'off'}`;
}

/**
 * True if F32 products on the device are known to be of F32 operands: on the CPU, and where the switch of its
 * kind is set.
 */
export function isStrictF32(kind: string): boolean {
  if (kind === 'cpu') return true;
  const names = Object.keys(VARIABLES[kind]?.strictF32 ?? {});
  return names.length > 0 && names.every((name) => process.env[name] !== undefined);
}

/** Variables that backend libraries read and that are set, by name: part of what a run was. */
export function deviceEnvironment(kind: string): Record<string, string> {
  const prefixes: Record<string, RegExp> = {
    vulkan: /^GGML_VK_/,
    cuda: /^(GGML_CUDA_|CUDA_VISIBLE_DEVICES$|NVIDIA_TF32_OVERRIDE$)/,
    hip: /^(GGML_CUDA_|HIP_VISIBLE_DEVICES$)/,
    metal: /^GGML_METAL_/,
    sycl: /^GGML_SYCL_/,
  };
  const pattern = prefixes[kind];
  if (pattern === undefined) return {};
  return Object.fromEntries(
    Object.entries(process.env)
      .filter(([name]) => pattern.test(name))
      .map(([name, value]) => [name, value ?? '']),
  );
}

function packageFolder(name: string): string | undefined {
  const paths = createRequire(import.meta.url).resolve.paths(name) ?? [];
  return paths.map((path) => join(path, name)).find((path) => existsSync(join(path, 'package.json')));
}

/** The version that the packages of this platform have. */
function ownPackageVersion(): string {
  const name = platformPackage();
  const root = name === undefined ? undefined : packageFolder(name);
  if (root === undefined) return 'latest';
  return (JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as { version: string }).version;
}

function foldersBelow(folder: string): string[] {
  if (!existsSync(folder)) return [];
  const inside = readdirSync(folder, { withFileTypes: true }).filter((entry) => entry.isDirectory());
  return [folder, ...inside.flatMap(({ name }) => foldersBelow(join(folder, name)))];
}
