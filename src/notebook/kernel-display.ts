import { createRequire } from 'node:module';
import { badArgument } from '../errors.js';

/** One output in several forms, by MIME type: the front end shows the richest that it knows. */
export type MimeBundle = Readonly<Record<string, unknown>>;

/**
 * The part of tslab's `dist/jupyter.js` that sends an output. Its public `display` sends one MIME type only.
 */
interface KernelModule {
  readonly lastWriteDisplayData: ((output: object, update: boolean) => void) | null;
}

/**
 * Sends an output to the cell that runs.
 *
 * The module is the one that the running kernel has loaded, wherever that was installed: another copy of
 * tslab would have no connection.
 *
 * @throws `BAD_ARGUMENT` outside a tslab notebook.
 */
export function sendDisplay(op: string, data: MimeBundle): void {
  const loaded = createRequire(import.meta.url).cache;
  const key = Object.keys(loaded).find((file) => /[\\/]tslab[\\/]dist[\\/]jupyter\.js$/.test(file));
  const kernel = key === undefined ? undefined : (loaded[key]?.exports as KernelModule);
  if (!kernel?.lastWriteDisplayData)
    throw badArgument(op, 'a cell of a tslab notebook', 'another program; use figurePage to write a page');
  kernel.lastWriteDisplayData({ data, metadata: {}, transient: {} }, false);
}
