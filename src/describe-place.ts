/** What lies at a path that was meant to be something else, and what to do with it. */
import { readdir, stat } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { fileKind } from './regular-file.js';

/** What marks a folder, first match first. */
const MARKS: readonly [file: RegExp, what: string, advice: string][] = [
  [/^manifest\.json$/, 'a dump', ''],
  [
    /^index\.jsonl$/,
    'the folder of a llama.cpp port',
    'zayascope import makes a dump of it (--map llamacpp), zayascope port goes the whole way',
  ],
  [/^journey\.json$/, 'the folder of an earlier zayascope port', 'the dumps in it are dump and reference'],
  [/^repro\.json$/, 'a folder of zayascope repro', ''],
  [/^config\.json$/, 'a model folder', 'zayascope capture or dumps/reference/dump.py runs it'],
  [/\.npy$/, 'a folder of .npy files', 'zayascope import makes a dump of it'],
];

/** Files that no one reads by themselves, by what marks the folder that they are a part of. */
const PARTS: readonly [part: RegExp, mark: string, what: string][] = [
  [/^(tensors\.bin|index\.jsonl)$/, 'index.jsonl', "a llama.cpp port's folder"],
  [/^(manifest\.json|.*\.arrow|graph\.json)$/, 'manifest.json', 'a dump'],
];

/** Of a file that is read as a part of its folder: what it is, and the folder to pass. */
export async function describePart(path: string): Promise<string | undefined> {
  const folder = dirname(path);
  const own = basename(path);
  for (const [part, mark, what] of PARTS) {
    if (!part.test(own)) continue;
    const found = await stat(path).catch(() => undefined);
    const marked = await stat(join(folder, mark)).catch(() => undefined);
    if (found?.isFile() && marked?.isFile()) return `a file of ${what}: pass the folder, ${folder}`;
  }
  return undefined;
}

/** E.g. `nothing`, `a file`, `an empty folder`, or of what is known what it is and what reads it. */
export async function describePlace(path: string): Promise<string> {
  const found = await stat(path).catch((error: NodeJS.ErrnoException) => error);
  if (found instanceof Error)
    return found.code === 'ENOENT'
      ? 'nothing'
      : found.code === 'ENOTDIR'
        ? 'a path through a file'
        : found.message;
  if (!found.isDirectory()) return (await describePart(path)) ?? fileKind(found);
  const names = await readdir(path).catch((error: Error) => error);
  if (names instanceof Error) return `a folder that cannot be read: ${names.message}`;
  if (names.length === 0) return 'an empty folder';
  for (const [file, what, advice] of MARKS)
    if (names.some((name) => file.test(name))) return advice === '' ? what : `${what}: ${advice}`;
  return `a folder with other files, first ${names.sort()[0]}`;
}
