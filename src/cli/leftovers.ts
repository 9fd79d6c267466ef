import { readdir } from 'node:fs/promises';
import { join, relative } from 'node:path';
import { MANIFEST_FILE } from '../dump/format.js';
import { temporaryName } from '../dump/json-file.js';
import { lockHolder } from '../dump/lock.js';
import { isGone } from '../process-identity.js';
import { isLeftover } from '../weights/atomic-file.js';

/**
 * Folders below the first that are looked into, and entries looked at: this is a glance, not a search of the
 * disk.
 */
const MAX_DEPTH = 3;
const MAX_ENTRIES = 20_000;
const SKIPPED: readonly string[] = ['node_modules', '.git', '.venv', '.venv-lab'];

/**
 * What killed runs left in and below a folder: unfinished files (`*.partial`), half-written manifests and
 * locks of dumps whose process has ended. Paths are relative to it.
 */
export async function findLeftovers(folder: string): Promise<string[]> {
  const found: string[] = [];
  let seen = 0;
  const look = async (dir: string, depth: number): Promise<void> => {
    const entries = await readdir(dir, { withFileTypes: true }).catch(() => []);
    for (const entry of entries.sort((a, b) => (a.name < b.name ? -1 : 1))) {
      if (++seen > MAX_ENTRIES) return;
      const path = join(dir, entry.name);
      if (entry.isDirectory() && depth < MAX_DEPTH && !SKIPPED.includes(entry.name))
        await look(path, depth + 1);
      else if (entry.isFile() && (await isRemains(path, entry.name))) found.push(relative(folder, path));
    }
  };
  await look(folder, 0);
  return found;
}

async function isRemains(path: string, name: string): Promise<boolean> {
  if (isLeftover(name)) return true;
  if (name.endsWith('.lock')) return isStaleLock(path);
  if (name !== temporaryName(MANIFEST_FILE)) return false;
  // A writer that is alive may be about to rename it.
  const holder = await lockHolder(`${join(path, '..')}.lock`).catch(() => null);
  return holder === undefined || (holder !== null && isGone(holder));
}

async function isStaleLock(path: string): Promise<boolean> {
  const holder = await lockHolder(path).catch(() => null);
  return holder !== undefined && holder !== null && isGone(holder);
}
