import { unmet } from '../errors.js';
import { native } from '../native.js';
import type { Backend } from './backend.js';

/**
 * Throws `BACKEND` unless the device has the bytes free. Drivers fail late, or move memory to the host, where
 * everything becomes slow. The CPU's memory is left to the operating system.
 * @param what what the bytes are for, in words.
 */
export function requireFreeMemory({ device }: Backend, bytes: number, what: string): void {
  if (device.type === 'cpu') return;
  const now = native()
    .devices()
    .find(({ name }) => name === device.name);
  const free = now?.memoryFreeBytes ?? device.memoryFreeBytes;
  if (bytes <= free) return;
  throw unmet(
    'BACKEND',
    'allocate',
    `${bytes} bytes of free memory on ${device.name} for ${what}`,
    `${free}; use a smaller context, fewer taps or another device`,
  );
}
