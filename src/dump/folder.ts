/** The folder that a dump is written into: made, emptied, and told from folders that hold something else. */

import { mkdir, readdir, rm, rmdir } from 'node:fs/promises';
import { join } from 'node:path';
import { unmet, type ZayascopeError } from '../errors.js';
import { explained, readRegularText } from '../regular-file.js';
import { DUMP_FORMAT, GRAPH_FILE, isDumpFile, MANIFEST_FILE, NOISE_FILE } from './format.js';
import { temporaryName } from './json-file.js';
import { writeManifest } from './manifest.js';

/**
 * Makes the folder ready for the files of a new dump. The caller holds its lock.
 *
 * A dump that is there is removed with `overwrite`: its manifest says partial before the first file goes, and
 * is replaced by the new dump's at the end, so that at every moment the folder is a dump and never says
 * complete over missing files. What a killed run left of a manifest is removed in any case.
 */
export async function prepareFolder(dir: string, overwrite: boolean): Promise<void> {
  let entries: string[];
  try {
    await mkdir(dir, { recursive: true });
    for (const name of [MANIFEST_FILE, GRAPH_FILE, NOISE_FILE].map(temporaryName))
      await rm(join(dir, name), { force: true });
    entries = await readdir(dir);
  } catch (cause) {
    throw folderError(dir, 'a folder to write', explained(cause as Error).message, cause);
  }
  if (entries.length === 0) return;
  if (!overwrite) throw folderError(dir, 'an empty folder', `${entries.length} entries`);
  const manifest = await dumpManifest(dir);
  if (manifest === undefined) throw folderError(dir, 'a dump to overwrite', 'a folder without one');
  await writeManifest(dir, { ...manifest, status: 'partial' });
  try {
    for (const entry of entries) if (isDumpFile(entry) && entry !== MANIFEST_FILE) await rm(join(dir, entry));
  } catch (cause) {
    throw folderError(dir, 'a dump that can be removed', (cause as Error).message, cause);
  }
}

/**
 * Says before a long run what {@link prepareFolder} would refuse after it; nothing is written. Throws `IO`.
 */
export async function checkDumpFolder(dir: string, overwrite: boolean): Promise<void> {
  const entries = await readdir(dir).catch((cause: NodeJS.ErrnoException) => {
    if (cause.code === 'ENOENT') return [];
    throw folderError(dir, 'a folder to write', explained(cause).message, cause);
  });
  if (entries.length === 0) return;
  if (!overwrite) throw folderError(dir, 'an empty folder', `${entries.length} entries`);
  if ((await dumpManifest(dir)) === undefined)
    throw folderError(dir, 'a dump to overwrite', 'a folder without one');
}

/** Removes a dump that was begun and cannot be finished; the folder too, where it holds nothing else. */
export async function removeBegun(dir: string): Promise<void> {
  const own = (await readdir(dir)).filter(isDumpFile);
  for (const name of own.sort((a, b) => Number(a === MANIFEST_FILE) - Number(b === MANIFEST_FILE)))
    await rm(join(dir, name), { force: true });
  await rmdir(dir).catch(() => {});
}

/** The manifest of whatever version is in the folder, as it is; undefined where there is no dump. */
async function dumpManifest(dir: string): Promise<object | undefined> {
  try {
    const manifest: unknown = JSON.parse(await readRegularText(join(dir, MANIFEST_FILE)));
    return (manifest as { format?: unknown } | null)?.format === DUMP_FORMAT
      ? (manifest as object)
      : undefined;
  } catch {
    return undefined;
  }
}

function folderError(dir: string, expected: string, got: string, cause?: unknown): ZayascopeError {
  return unmet('IO', 'writeDump', expected, got, { where: dir, cause });
}
