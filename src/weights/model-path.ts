/**
 * Where a model lies, from what a user names: a folder, a GGUF file of any name, a part of a split one, an
 * Ollama manifest or blob, an entry of the Hugging Face cache.
 */
import { readdir, stat } from 'node:fs/promises';
import { basename, dirname, join, resolve } from 'node:path';
import { unmet } from '../errors.js';
import { readRegularText } from '../regular-file.js';
import { ioError, readSmallFile } from './file-access.js';
import { sniffFile, wrongKind } from './formats/file-kind.js';
import { parseJsonObject } from './json-object.js';

const MAX_MANIFEST_BYTES = 1024 * 1024;
const EXPECTED = 'a model folder or a GGUF file';
const SPLIT = /^(.+)-(\d{5})-of-(\d{5})\.gguf$/i;

/** What {@link findModel} found. */
export interface FoundModel {
  kind: 'folder' | 'gguf';
  /** The folder with config.json, or the GGUF file (the first part of a split one). */
  path: string;
}

/**
 * Resolves what a user gave as a model.
 * @param op the operation, for errors. @throws `IO` for a path that holds no model, saying what it holds
 * instead; `BAD_CHECKPOINT` for a broken cache entry or manifest.
 */
export async function findModel(op: string, path: string): Promise<FoundModel> {
  const found = await stat(path).catch((cause: unknown) => {
    throw ioError(op, EXPECTED, path, cause);
  });
  return found.isDirectory() ? inFolder(op, path, 0) : fromFile(op, path);
}

async function fromFile(op: string, path: string): Promise<FoundModel> {
  const file = await sniffFile(op, path);
  if (file.kind === 'gguf') return { kind: 'gguf', path: firstPart(path) };
  if (file.kind === 'json') {
    const blob = await ollamaModel(op, path);
    if (blob !== undefined) return fromFile(op, blob);
  }
  const isWeights = file.kind === 'safetensors' || file.kind === 'zip' || basename(path) === 'config.json';
  throw wrongKind(
    'IO',
    op,
    EXPECTED,
    isWeights ? { ...file, advice: 'give the folder that holds it and config.json' } : file,
    path,
  );
}

/** All parts of a split GGUF file have the same name but for their number. */
function firstPart(path: string): string {
  const split = SPLIT.exec(basename(path));
  return split === null ? path : join(dirname(path), `${split[1]}-00001-of-${split[3]}${path.slice(-5)}`);
}

/** The files of a GGUF model of `count` parts, in order; `path` is one of them. */
export function splitParts(path: string, count: number): string[] | undefined {
  const split = SPLIT.exec(basename(path));
  if (split === null || Number(split[3]) !== count) return undefined;
  const number = (part: number): string => String(part + 1).padStart(5, '0');
  return Array.from({ length: count }, (_, part) =>
    join(dirname(path), `${split[1]}-${number(part)}-of-${split[3]}${path.slice(-5)}`),
  );
}

async function inFolder(op: string, path: string, depth: number): Promise<FoundModel> {
  const names = (
    await readdir(path).catch((cause: unknown) => {
      throw ioError(op, 'a readable folder', path, cause);
    })
  ).sort();
  if (names.includes('config.json')) return { kind: 'folder', path };
  const ggufs = new Set(
    names.filter((name) => name.toLowerCase().endsWith('.gguf')).map((name) => firstPart(join(path, name))),
  );
  const [gguf] = ggufs;
  if (gguf !== undefined && ggufs.size === 1) return { kind: 'gguf', path: gguf };
  const isEntry = names.includes('refs') || basename(resolve(path)).startsWith('models--');
  if (names.includes('snapshots') || (names.includes('blobs') && isEntry))
    return inFolder(op, await snapshot(op, path, names), depth + 1);
  const entries = names.filter((name) => name.startsWith('models--'));
  if (entries.length === 1 && depth === 0) return inFolder(op, join(path, entries[0]!), depth + 1);
  throw ioError(
    op,
    'config.json or exactly one .gguf file in the folder',
    path,
    whatElse(names, ggufs.size, entries),
  );
}

function whatElse(names: readonly string[], ggufs: number, entries: readonly string[]): string {
  if (ggufs > 0) return `${ggufs} .gguf files and no config.json`;
  if (entries.length > 0)
    return `a Hugging Face cache of ${entries.length} models: ${entries.slice(0, 4).join(', ')}`;
  if (names.includes('adapter_config.json'))
    return 'a PEFT adapter (adapter_config.json); merge it into its model and save that';
  if (names.includes('manifest.json')) return 'neither, but the manifest.json of a dump';
  const weights = names.find((name) => /\.(safetensors|bin|pt|pth)$/.test(name));
  if (weights !== undefined) return `${weights} without a config.json beside it`;
  return names.length === 0 ? 'an empty folder' : 'neither';
}

/** The folder that an entry of the Hugging Face cache means: that of refs/main, or its only snapshot. */
async function snapshot(op: string, path: string, names: readonly string[]): Promise<string> {
  const all = names.includes('snapshots') ? (await readdir(join(path, 'snapshots'))).sort() : [];
  const main = await readRegularText(join(path, 'refs', 'main')).then(
    (text) => text.trim(),
    () => undefined,
  );
  if (main !== undefined && all.includes(main)) return join(path, 'snapshots', main);
  if (all.length === 1) return join(path, 'snapshots', all[0]!);
  const got =
    all.length === 0
      ? `none${main === undefined ? '' : ` of ${main.slice(0, 12)}, which refs/main names`}: the download did not finish (blobs alone have no names); download the model again`
      : `${all.length}, none of which refs/main names: give one of ${all.slice(0, 4).join(', ')} in snapshots/`;
  throw unmet('BAD_CHECKPOINT', op, 'a snapshot in the Hugging Face cache', got, {
    where: path,
    tensor: path,
  });
}

/**
 * The blob of a model that an Ollama manifest names (`models/manifests/HOST/NAMESPACE/MODEL/TAG`; blobs are
 * in `models/blobs`); undefined for other JSON.
 */
async function ollamaModel(op: string, path: string): Promise<string | undefined> {
  const where = { code: 'BAD_CHECKPOINT', op, where: path } as const;
  const { layers } = parseJsonObject(await readSmallFile(op, path, MAX_MANIFEST_BYTES), where);
  const layer = Array.isArray(layers)
    ? (layers.find((each) => each?.mediaType === 'application/vnd.ollama.image.model') as
        | { digest?: unknown }
        | undefined)
    : undefined;
  if (typeof layer?.digest !== 'string' || !/^sha256:[0-9a-f]{64}$/.test(layer.digest)) return undefined;
  const name = layer.digest.replace(':', '-');
  for (let folder = dirname(path), up = 0; up < 8; folder = dirname(folder), up++) {
    const blob = join(folder, 'blobs', name);
    if (
      await stat(blob).then(
        (file) => file.isFile(),
        () => false,
      )
    )
      return blob;
  }
  throw unmet('BAD_CHECKPOINT', op, 'the blob that the Ollama manifest names', `no blobs/${name} above it`, {
    where: path,
    tensor: path,
  });
}
