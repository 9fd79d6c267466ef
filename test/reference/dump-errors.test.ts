import {
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { readReferenceManifest } from './manifest.js';
import { type PythonResult, root, runPython, runScripts } from './python.js';

const scratch = mkdtempSync(join(tmpdir(), 'zayascope-reference-errors-'));
const at = (name: string) => join(scratch, name);
const tinyModel = join(root, 'dumps', 'tiny', 'model');

/** What is wrong, the arguments that replace good ones, and what the message must say. */
const CASES: [string, Record<string, string | boolean>, RegExp][] = [
  ['a token out of range', { tokens: '5,259' }, /ids from 0 to 258, got 259 at position 1/],
  ['a token that is no number', { tokens: '5,x' }, /expected integers, got '5,x'/],
  ['no token', { tokens: '' }, /at least one token, got none/],
  ['a missing model folder', { model: at('nowhere') }, /expected a config\.json, found none in .*nowhere/],
  [
    'another model type',
    { model: at('other-type') },
    /expected model_type 'zaya' or 'qwen3' or 'qwen3_moe', got 'llama'/,
  ],
  ['missing weights', { model: at('no-weights') }, /expected model\.safetensors, found no such file/],
  ['a truncated checkpoint', { model: at('truncated') }, /truncated/],
  [
    'a missing tensor',
    { model: at('renamed') },
    /missing \['model\.norm\.weight'\], unknown \['model\.morm\.weight'\]/,
  ],
  ['an existing dump', { out: at('existing') }, /expected --out not to exist.*existing/],
  ['a folder that is no dump', { out: at('precious'), overwrite: true }, /hold a dump that may be replaced/],
  [
    'a folder whose manifest is none',
    { out: at('malformed'), overwrite: true },
    /hold a dump that may be replaced/,
  ],
  [
    'a dump beside other files',
    { out: at('shared'), overwrite: true },
    /nothing but a dump, got 'thesis\.txt'/,
  ],
  [
    'a dump beside a folder',
    { out: at('nested'), overwrite: true },
    /nothing but a dump, got 'layers\.9\.arrow'/,
  ],
  ['a folder that cannot be made', { out: at('file/dump') }, /file/],
  ['a pattern that matches nothing', { taps: 'layer.*' }, /a pattern that matches a tap, got 'layer\.\*'/],
  ['a malformed pattern', { taps: 'layers.{0..1' }, /expected balanced braces/],
  ['positions beyond the tokens', { positions: '3:9' }, /within the 3 tokens, got none/],
  ['steps that do not add up', { steps: '2,2' }, /add up to the 3 tokens, got 2,2/],
  ['a step of no token', { steps: '0,3' }, /add up to the 3 tokens, got 0,3/],
  ['steps that are no numbers', { steps: '1,x' }, /sizes of calls as 16,9,1,1, got '1,x'/],
  [
    'a first call of padding only',
    { tokens: '[[1,2,3],[4]]', steps: '2,1' },
    /reaches every sequence, got 2 slots, all of them padding in sequence 1 \(1 of 3 tokens\)/,
  ],
  ['a sequence without tokens', { tokens: '[[1],[]]' }, /at least one token, got none of sequence 1/],
  ['positions that are none', { positions: 'first' }, /expected all, last or a:b, got 'first'/],
];

let results: PythonResult[];

beforeAll(() => {
  for (const name of ['other-type', 'no-weights', 'truncated', 'renamed']) {
    cpSync(tinyModel, at(name), { recursive: true });
  }
  const config = readFileSync(join(tinyModel, 'config.json'), 'utf8');
  writeFileSync(join(at('other-type'), 'config.json'), config.replace('"zaya"', '"llama"'));
  rmSync(join(at('no-weights'), 'model.safetensors'));
  const weights = readFileSync(join(tinyModel, 'model.safetensors'));
  writeFileSync(join(at('truncated'), 'model.safetensors'), weights.subarray(0, weights.length - 100));
  const renamed = Buffer.from(weights);
  renamed.write('model.morm.weight', weights.indexOf('model.norm.weight'));
  writeFileSync(join(at('renamed'), 'model.safetensors'), renamed);
  mkdirSync(at('precious'));
  writeFileSync(join(at('precious'), 'thesis.txt'), 'all of it');
  writeFileSync(at('file'), '');
  mkdirSync(at('malformed'));
  writeFileSync(join(at('malformed'), 'manifest.json'), '{"format": "zayascope-d');
  for (const name of ['shared', 'nested']) {
    cpSync(join(root, 'dumps', 'tiny', 'reference-bfloat16'), at(name), { recursive: true });
  }
  writeFileSync(join(at('shared'), 'thesis.txt'), 'all of it');
  mkdirSync(join(at('nested'), 'layers.9.arrow'));
  const good = { model: tinyModel, tokens: '5,17,9', dtype: 'float32', out: at('unused') };
  const call = (changes: Record<string, string | boolean>) => ({
    script: 'dump' as const,
    args: Object.entries<string | boolean>({ ...good, ...changes }).flatMap(([k, v]) =>
      v === true ? [`--${k}`] : [`--${k}`, String(v)],
    ),
  });
  results = runScripts([
    call({ out: at('existing'), taps: 'layers.1,norm' }),
    ...CASES.map(([, changes]) => call(changes)),
    call({ out: at('existing'), taps: 'lm_head', overwrite: true }),
  ]);
}, 120_000);

afterAll(() => rmSync(scratch, { recursive: true, force: true }));

it.each(CASES.map(([name, , message], index) => ({ name, message, index })))(
  'refuses $name',
  ({ message, index }) => {
    const { status, stderr } = results[index + 1]!;
    expect(status).toBe(2);
    expect(stderr).toMatch(message);
    expect(stderr).not.toContain('Traceback');
  },
);

it('writes nothing for bad input, and removes nothing', () => {
  expect(existsSync(at('unused'))).toBe(false);
  for (const name of ['precious', 'shared']) {
    expect(readFileSync(join(at(name), 'thesis.txt'), 'utf8')).toBe('all of it');
  }
  const committed = readdirSync(join(root, 'dumps', 'tiny', 'reference-bfloat16'));
  expect(readdirSync(at('shared')).toSorted()).toEqual([...committed, 'thesis.txt'].toSorted());
  expect(readdirSync(at('nested')).toSorted()).toEqual([...committed, 'layers.9.arrow'].toSorted());
});

it('replaces a dump when asked to, and leaves none of its files', () => {
  expect(results.at(-1)!.status).toBe(0);
  expect(readdirSync(at('existing')).toSorted()).toEqual(['manifest.json', 'model.arrow', 'stats.arrow']);
  expect(readReferenceManifest(at('existing')).taps.map((tap) => tap.name)).toEqual(['lm_head']);
});

it('leaves a dump that broke off marked partial, with the blocks before it', () => {
  const program = `
import sys
sys.path.insert(0, "dumps/reference")
import dump
from dump_writer import DumpWriter
write = DumpWriter.write
def break_off(self, block, *rest):
    if block == 3:
        raise OSError("disk full")
    write(self, block, *rest)
DumpWriter.write = break_off
sys.exit(dump.main(sys.argv[1:]))`;
  const options = ['--model', tinyModel, '--tokens', '5,17,9', '--dtype', 'float32', '--out', at('broken')];
  const { status, stderr } = runPython(['-c', program, ...options]);
  expect([status, stderr]).toEqual([2, 'dump.py: disk full\n']);
  expect(readReferenceManifest(at('broken'))).toMatchObject({ status: 'partial', steps: 0 });
  expect(readdirSync(at('broken')).filter((name) => name.startsWith('layers.'))).toEqual([
    'layers.0.arrow',
    'layers.1.arrow',
    'layers.2.arrow',
  ]);
}, 60_000);
