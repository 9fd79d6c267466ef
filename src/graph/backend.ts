import { availableParallelism } from 'node:os';
import { ZayascopeError } from '../errors.js';
import { type NativeBackend, type NativeDevice, native } from '../native.js';

/** ggml's own limit. */
const MAX_THREADS = 512;

/** Options of {@link openBackend}. */
export interface BackendOptions {
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
 * Opens a device by backend name in any case (`cpu`, `vulkan`, `cuda`: its first device) or by ggml's device name (`Vulkan1`). Throws `BACKEND` naming the devices at
 * hand when there is none of that name, `BAD_ARGUMENT` for a thread count outside 1..512.
 */
export function openBackend(name = 'cpu', options: BackendOptions = {}): Backend {
  const devices = listDevices();
  const wanted = name.toLowerCase();
  const device =
    devices.find((d) => d.name.toLowerCase() === wanted) ??
    devices.find((d) => d.backend.toLowerCase() === wanted);
  if (device === undefined)
    throw new ZayascopeError(
      'BACKEND',
      `openBackend: expected one of ${devices.map((d) => d.name).join(', ')}, got ${name}; \`zayascope doctor\` says how to add devices`,
      { op: 'openBackend' },
    );
  const handle = new (native().Backend)(device.name);
  let threads = 0;
  const setThreads = (count: number) => {
    if (!(Number.isInteger(count) && count >= 1 && count <= MAX_THREADS))
      throw new ZayascopeError(
        'BAD_ARGUMENT',
        `openBackend: expected 1 to ${MAX_THREADS} threads, got ${count}`,
        { op: 'openBackend' },
      );
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
    setThreads,
    native: handle,
    close,
    [Symbol.dispose]: close,
  };
}
