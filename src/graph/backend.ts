import { availableParallelism } from 'node:os';
import { badArgument, unmet } from '../errors.js';
import { type NativeBackend, type NativeDevice, native } from '../native.js';
import {
  backendKind,
  type DeviceSettings,
  deviceEnvironment,
  hasLibrary,
  isStrictF32,
  loadBackendLibrary,
} from './backend-library.js';

/** ggml's own limit. */
const MAX_THREADS = 512;

/** Options of {@link openBackend}. */
export interface BackendOptions extends Partial<DeviceSettings> {
  /** CPU threads that a graph uses; default: what the system offers. Other devices ignore it. */
  threads?: number;
}

/** An open device on which graphs run. Close it after everything that lives on it. */
export interface Backend extends Disposable {
  /** What {@link openBackend} was asked for, e.g. `cpu`. */
  readonly name: string;
  readonly device: NativeDevice;
  /** Threads in use; 0 on devices without a thread count. */
  readonly threads: number;
  /** True if F32 products are known to be of F32 operands; false where the device may round them. */
  readonly strictF32: boolean;
  /** Environment variables that the device's library has read and that are set, by name. */
  readonly environment: Readonly<Record<string, string>>;
  /** Changes the number of CPU threads; other devices ignore it. Throws `BAD_ARGUMENT` outside 1..512. */
  setThreads(count: number): void;
  readonly native: NativeBackend;
  close(): void;
}

/** All devices of the ggml backends that are loaded. */
export function listDevices(): NativeDevice[] {
  return native().devices();
}

/**
 * Opens a device by backend name in any case (`cpu`, `vulkan`, `cuda`: its first device) or by ggml's device
 * name (`Vulkan1`). `lavapipe` is Mesa's Vulkan device on the CPU, with fusion off, for machines without a
 * GPU. The library of a backend is loaded when it is first asked for.
 *
 * @throws `BACKEND` when there is no such device, no library for it, or one of another ggml version;
 * `BAD_ARGUMENT` for a thread count outside 1..512.
 */
export function openBackend(name = 'cpu', options: BackendOptions = {}): Backend {
  const device = findDevice(name, options);
  const kind = backendKind(device.name);
  const handle = new (native().Backend)(device.name);
  let threads = 0;
  const setThreads = (count: number) => {
    if (!(Number.isInteger(count) && count >= 1 && count <= MAX_THREADS))
      throw badArgument('openBackend', `1 to ${MAX_THREADS} threads`, count);
    if (device.type !== 'cpu') return;
    handle.setThreads(count);
    threads = count;
  };
  const close = () => handle.close();
  try {
    setThreads(options.threads ?? Math.min(availableParallelism(), MAX_THREADS));
  } catch (error) {
    close();
    throw error;
  }
  return {
    name,
    device,
    get threads() {
      return threads;
    },
    strictF32: isStrictF32(kind),
    environment: deviceEnvironment(kind),
    setThreads,
    native: handle,
    close,
    [Symbol.dispose]: close,
  };
}

/** Mesa's Vulkan device that computes on the CPU. ggml passes over it unless told to take it. */
const LAVAPIPE = 'lavapipe';

function findDevice(name: string, options: BackendOptions): NativeDevice {
  const wanted = name.toLowerCase();
  const isLavapipe = wanted === LAVAPIPE;
  const named = () => {
    const devices = listDevices();
    if (isLavapipe) return devices.find(({ description }) => /llvmpipe|lavapipe/i.test(description));
    return (
      devices.find((d) => d.name.toLowerCase() === wanted) ??
      devices.find((d) => d.backend.toLowerCase() === wanted || backendKind(d.name) === wanted)
    );
  };
  const kind = backendKind(name);
  if (hasLibrary(kind)) {
    if (isLavapipe) process.env.GGML_VK_VISIBLE_DEVICES ??= '0';
    const { strictF32, fusion = isLavapipe ? false : undefined } = options;
    loadBackendLibrary(kind, { strictF32, fusion });
  }
  const device = named();
  if (device !== undefined) return device;
  const names = listDevices().map((d) => d.name);
  throw unmet(
    'BACKEND',
    'openBackend',
    `one of ${names.join(', ')}`,
    `${name}; ${noDevice(kind, names)}\`zayascope doctor\` says how to add devices`,
  );
}

function noDevice(kind: string, names: readonly string[]): string {
  if (!hasLibrary(kind) || names.some((name) => backendKind(name) === kind)) return '';
  return `the ${kind} library found no GPU on this machine; `;
}
