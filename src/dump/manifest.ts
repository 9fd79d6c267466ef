import { join } from 'node:path';
import { describePlace } from '../describe-place.js';
import { unmet } from '../errors.js';
import { FieldCheck } from '../field-check.js';
import { readRegularFile } from '../regular-file.js';
import { parseJsonObject } from '../weights/json-object.js';
import { MANIFEST_FILE, type Manifest } from './format.js';
import { writeJsonFile } from './json-file.js';
import { checkManifest } from './manifest-check.js';

/** Writes `manifest.json` so that it is at all times either the old or the new one, whole. Throws `IO`. */
export async function writeManifest(dir: string, manifest: Manifest | object): Promise<void> {
  const text = JSON.stringify(manifest, null, 1);
  await writeJsonFile(dir, MANIFEST_FILE, text, { op: 'writeDump', what: 'manifest' });
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
    const details = { where: dir, tensor: MANIFEST_FILE, cause };
    throw isAbsent
      ? unmet('IO', 'openDump', `a dump (a folder with ${MANIFEST_FILE})`, await describePlace(dir), details)
      : unmet('IO', 'openDump', `a readable ${MANIFEST_FILE}`, reason(cause), details);
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
