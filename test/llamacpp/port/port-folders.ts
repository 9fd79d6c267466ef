/**
 * What the public llama.cpp branch of ZAYA wrote (README beside this file), unpacked, imported, and the
 * reference for it. All lies in a scratch folder of this process.
 */
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { brotliDecompressSync, constants } from 'node:zlib';
import { runCommand } from '../../cli/run-command.js';
import { root, runPython } from '../../reference/python.js';

/** Folders that the fixture holds whole. */
export const WHOLE_FOLDERS = [
  'before-f32',
  'before-f32-last',
  'before-f32-decode',
  'before-f32-two-sequences',
  'before-q8_0',
  'after-f32',
] as const;
/** Folders of which it holds the values up to the output of block 1. */
export const CUT_FOLDERS = ['before-f32-flash', 'after-f32-cache-f32', 'before-bf16'] as const;

export type PortName = (typeof WHOLE_FOLDERS)[number] | (typeof CUT_FOLDERS)[number];

/** Token ids of every folder. */
export const PORT_IDS: readonly number[] = [
  257, 91, 87, 101, 100, 110, 101, 115, 100, 97, 121, 32, 48, 56, 58, 50, 56, 93, 32, 99, 97, 112, 116, 97,
];
/** The model that the branch ran, before `convert`. */
export const TINY_MODEL = join(root, 'dumps', 'tiny', 'model');

let scratch: string | undefined;
let contents: ReadonlyMap<PortName, { index: Buffer; values: Buffer }> | undefined;

/** A path in this process's scratch folder, which is removed when the process ends. */
export function portScratch(name: string): string {
  if (scratch === undefined) {
    const folder = mkdtempSync(join(tmpdir(), 'zayascope-port-'));
    process.on('exit', () => rmSync(folder, { recursive: true, force: true }));
    scratch = folder;
  }
  return join(scratch, name);
}

/** The folder as the branch wrote it. */
export function portFolder(name: PortName): string {
  const folder = portScratch(name);
  if (!existsSync(folder)) {
    contents ??= unpack();
    const { index, values } = contents.get(name)!;
    mkdirSync(folder);
    writeFileSync(join(folder, 'index.jsonl'), index);
    writeFileSync(join(folder, 'tensors.bin'), values);
  }
  return folder;
}

/** The folder imported with the map of the branch. */
export async function portDump(name: PortName): Promise<string> {
  const out = portScratch(`${name}-dump`);
  if (!existsSync(out)) {
    const args = ['--map', 'llamacpp', '--config', join(TINY_MODEL, 'config.json'), '--out', out];
    const several = name === 'before-f32-two-sequences' ? ['--sequences', '12,12'] : [];
    const { code, stderr } = await runCommand(['import', portFolder(name), ...args, ...several]);
    if (code !== 0) throw new Error(`portDump: import of ${name} exited with ${code}: ${stderr}`);
  }
  return out;
}

/**
 * What PyTorch computes of {@link PORT_IDS} in F32: the first tokens of the committed dump of `dumps/tiny`,
 * whose prompt begins with them. `dump.py` on these ids alone gives the same to 1e-12, and takes the seconds
 * that importing torch does.
 */
export function portReference(): string {
  return cutDump('reference-float32', 'reference');
}

/** The same in BF16: the reference's own run in low precision. */
export function portNoise(): string {
  return cutDump('reference-bfloat16', 'noise');
}

function cutDump(name: string, as: string): string {
  const out = portScratch(as);
  if (!existsSync(out)) {
    const script = join(import.meta.dirname, 'cut_reference.py');
    const whole = join(root, 'dumps', 'tiny', name);
    const { status, stderr } = runPython([script, whole, String(PORT_IDS.length), out]);
    if (status !== 0) throw new Error(`cutDump: cut_reference.py exited with ${status}: ${stderr}`);
  }
  return out;
}

/**
 * The GGUF file that a folder's run had: the tiny model, converted to F32 or the type in the folder's name.
 */
export async function portModel(name: PortName): Promise<string> {
  const type = /-(bf16|q8_0)$/.exec(name)?.[1] ?? 'f32';
  const file = portScratch(`tiny-${type}.gguf`);
  if (!existsSync(file)) {
    const { code, stderr } = await runCommand(['convert', TINY_MODEL, '--type', type, '--out', file]);
    if (code !== 0) throw new Error(`portModel: convert exited with ${code}: ${stderr}`);
  }
  return file;
}

/** Reads the format that `pack.mjs` writes. */
function unpack(): ReadonlyMap<PortName, { index: Buffer; values: Buffer }> {
  const packed = readFileSync(join(import.meta.dirname, 'folders.br'));
  const plain = brotliDecompressSync(packed, {
    params: { [constants.BROTLI_DECODER_PARAM_LARGE_WINDOW]: 1 },
  });
  const head = plain.indexOf('\n') + 1;
  const entries = JSON.parse(plain.toString('utf8', 0, head)) as {
    name: PortName;
    index: number;
    values: number;
  }[];
  let at = head;
  const next = (bytes: number): Buffer => {
    at += bytes;
    return plain.subarray(at - bytes, at);
  };
  return new Map(
    entries.map(({ name, index, values }) => {
      const text = next(index);
      return [name, { index: text, values: fromPlanes(text, next(values)) }];
    }),
  );
}

/** Puts the bytes of each element side by side again. All values of the branch have elements of 4 bytes. */
function fromPlanes(index: Buffer, planes: Buffer): Buffer {
  const values = Buffer.alloc(planes.length);
  for (const line of index.toString('utf8').trimEnd().split('\n')) {
    const { ne, offset } = JSON.parse(line) as { ne?: number[]; offset: number };
    if (ne === undefined) continue;
    const count = ne.reduce((all, size) => all * size, 1);
    for (let byte = 0; byte < 4; byte++)
      for (let k = 0; k < count; k++) values[offset + 4 * k + byte] = planes[offset + byte * count + k]!;
  }
  return values;
}
