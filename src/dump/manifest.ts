import { rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describePlace } from '../describe-place.js';
import { unmet, ZayascopeError } from '../errors.js';
import { FieldCheck } from '../field-check.js';
import { readRegularFile } from '../regular-file.js';
import { parseJsonObject } from '../weights/json-object.js';
import { MANIFEST_FILE, type Manifest } from './format.js';
import { checkManifest } from './manifest-check.js';

/** What a manifest is called while it is written; a killed process may leave it. */
export const TEMPORARY_MANIFEST = `.${MANIFEST_FILE}.tmp`;

/** Writes `manifest.json` so that it is at all times either the old or the new one, whole. Throws `IO`. */
export async function writeManifest(dir: string, manifest: Manifest | object): Promise<void> {
  const temporary = join(dir, TEMPORARY_MANIFEST);
  try {
    await writeFile(temporary, `${JSON.stringify(manifest, null, 1)}\n`);
    await rename(temporary, join(dir, MANIFEST_FILE));
  } catch (cause) {
    await rm(temporary, { force: true }).catch(() => {});
    throw unmet('IO', 'writeDump', 'to write the manifest', reason(cause), {
      where: MANIFEST_FILE,
      tensor: MANIFEST_FILE,
      cause,
    });
  }
}

/**
 * Reads and checks the manifest of a dump. Throws `IO` where there is none to read, `BAD_DUMP` naming the
 * field at fault.
 */
export async function readManifest(dir: string): Promise<Manifest> {
  let bytes: Uint8Array;
  try {
    bytes = await readRegularFile(join(dir, MANIFEST_FILE));
  } catch (cause) {
    const { code } = cause as NodeJS.ErrnoException;
    const isAbsent = code === 'ENOENT' || code === 'ENOTDIR';
    throw new ZayascopeError(
      'IO',
      isAbsent
        ? `openDump: expected a dump (a folder with ${MANIFEST_FILE}), got ${await describePlace(dir)} (${dir})`
        : `openDump: expected a readable ${MANIFEST_FILE}, got ${reason(cause)} (${dir})`,
      {
        op: 'openDump',
        tensor: MANIFEST_FILE,
        cause,
      },
    );
  }
  // Python's writers leave NaN and Infinity as they are: a config may hold them.
  const where = `${dir}/${MANIFEST_FILE}`;
  const text = { code: 'BAD_DUMP', op: 'openDump', where, tensor: MANIFEST_FILE } as const;
  const value: object = parseJsonObject(bytes, text);
  checkManifest(value, new FieldCheck(text));
  return value;
}

/** Throws `BAD_ARGUMENT` where a producer describes a dump that no reader would accept. */
export function checkNewManifest(manifest: Manifest, dir: string): void {
  checkManifest(
    manifest,
    new FieldCheck({ code: 'BAD_ARGUMENT', op: 'writeDump', where: dir, tensor: MANIFEST_FILE }),
  );
}

function reason(cause: unknown): string {
  return cause instanceof Error ? cause.message : String(cause);
}
