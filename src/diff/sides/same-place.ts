import { realpathSync } from 'node:fs';
import { resolve } from 'node:path';

/** What to say of two sides that are one and the same: they differ in nothing. Links are followed. */
export function samePlaceNotes(reference: string, tested: string, what: 'dump' | 'file' = 'dump'): string[] {
  return realPath(reference) === realPath(tested)
    ? [`Both sides are the same ${what} (${tested}): that they agree says nothing.`]
    : [];
}

function realPath(path: string): string {
  try {
    return realpathSync(path);
  } catch {
    return resolve(path);
  }
}
