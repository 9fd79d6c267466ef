import { stat } from 'node:fs/promises';
import { dirname } from 'node:path';
import { unmet } from '../errors.js';
import { fileKind } from '../regular-file.js';
import { writeAtomically } from '../weights/atomic-file.js';

/**
 * Throws `IO` where `path` is in no folder, and where there is something at `path` already and `overwrite` is
 * not set; `overwrite` replaces files only.
 */
export async function checkReportPath(path: string, overwrite: boolean): Promise<void> {
  const folder = await stat(dirname(path)).catch(() => undefined);
  if (!folder?.isDirectory())
    throw unmet('IO', 'report', 'a file in a folder that exists', 'none', { where: path, tensor: path });
  const found = await stat(path).catch(() => undefined);
  if (found === undefined || (overwrite && found.isFile())) return;
  throw unmet(
    'IO',
    'report',
    `a file that does not exist${overwrite ? ' or can be replaced' : ' (--overwrite replaces it)'}`,
    found.isFile() ? 'one that does' : fileKind(found),
    { where: path, tensor: path },
  );
}

/** Writes a page so that it appears whole or not at all. @returns its size in bytes. Throws `IO`. */
export async function writeReport(path: string, html: string, overwrite = false): Promise<number> {
  await checkReportPath(path, overwrite);
  const bytes = Buffer.from(html);
  await writeAtomically('report', path, (append) => append(bytes));
  return bytes.length;
}
