import { cpSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { readReferenceManifest } from './manifest.js';
import { type PythonResult, pythonJson, root, runScripts, type ScriptCall } from './python.js';

const tinyModel = join(root, 'dumps', 'tiny', 'model');
const prompt = join(root, 'dumps', 'tiny', 'prompt.json');
const scratch = mkdtempSync(join(tmpdir(), 'zayascope-stream-'));
const at = (name: string) => join(scratch, name);

const SHARDED =
  '--seed 7 --cca-time0 3 --heads 6 --kv-heads 3 --experts 7 --vocab 301 --layers 4 --untied --attention-bias --sliding-layers 1,2 --shards 5 --dtype f16';

/** Checkpoint, dtype: each is dumped with all weights in memory and streamed. */
const PAIRS: [string, string, string][] = [
  ['tiny', tinyModel, 'float32'],
  ['tiny', tinyModel, 'bfloat16'],
  ['sharded', at('sharded'), 'float32'],
  ['sharded', at('sharded'), 'float16'],
];

let results: PythonResult[];

beforeAll(() => {
  const dump = (name: string, model: string, dtype: string, ...more: string[]): ScriptCall => ({
    script: 'dump',
    args: [
      ...['--model', model, '--tokens-file', prompt, '--dtype', dtype, '--quiet'],
      ...['--out', at(`${name}-${dtype}${more.includes('--stream') ? '-streamed' : ''}`), ...more],
    ],
  });
  cpSync(tinyModel, at('renamed'), { recursive: true });
  cpSync(tinyModel, at('reshaped'), { recursive: true });
  const weights = 'model.safetensors';
  const renamed = readFileSync(join(tinyModel, weights));
  renamed.write('layers.5.input_layermorm.weight', renamed.indexOf('layers.5.input_layernorm.weight'));
  writeFileSync(join(at('renamed'), weights), renamed);
  const config = readFileSync(join(tinyModel, 'config.json'), 'utf8');
  const wider = config.replace('"moe_intermediate_size": 64', '"moe_intermediate_size": 65');
  writeFileSync(join(at('reshaped'), 'config.json'), wider);
  results = runScripts([
    { script: 'random_checkpoint', args: ['--out', at('sharded'), ...SHARDED.split(' ')] },
    ...PAIRS.flatMap(([name, model, dtype]) => [
      dump(name, model, dtype, '--no-verify'),
      dump(name, model, dtype, '--stream'),
    ]),
    dump('renamed', at('renamed'), 'float32', '--stream'),
    dump('reshaped', at('reshaped'), 'float32', '--stream'),
  ]);
}, 240_000);

afterAll(() => rmSync(scratch, { recursive: true, force: true }));

describe('dump.py --stream', () => {
  it.each(PAIRS)('writes the bytes of an ordinary dump (%s, %s, %s)', (name, _model, dtype) => {
    expect(results.slice(0, -2).filter(({ status }) => status !== 0)).toEqual([]);
    const [whole, streamed] = [at(`${name}-${dtype}`), at(`${name}-${dtype}-streamed`)];
    const files = readdirSync(whole).filter((file) => file.endsWith('.arrow'));
    expect(files.length).toBeGreaterThan(5);
    expect(readdirSync(streamed).toSorted()).toEqual(readdirSync(whole).toSorted());
    for (const file of files) {
      const same = readFileSync(join(whole, file)).equals(readFileSync(join(streamed, file)));
      expect([file, same]).toEqual([file, true]);
    }
    expect(readReferenceManifest(streamed).taps).toEqual(readReferenceManifest(whole).taps);
    expect(readReferenceManifest(streamed).producer).toMatchObject({ logitsEqualUntraced: true });
  });

  it('holds the weights of the block that runs, and of no other', () => {
    const seen = pythonJson([join('test', 'reference', 'streamed_blocks.py'), tinyModel]);
    const during = Array.from({ length: 8 }, (_, block) => [block]);
    expect(seen).toEqual({ during, after: [], outside: [] });
  });

  it('refuses a missing tensor before it writes anything', () => {
    expect(results.at(-2)!.status).toBe(2);
    expect(results.at(-2)!.stderr).toMatch(/missing \['model\.layers\.5\.input_layernorm\.weight'\]/);
    expect(readdirSync(scratch)).not.toContain('renamed-float32-streamed');
  });

  it('refuses a tensor of another shape, by its name', () => {
    expect(results.at(-1)!.status).toBe(2);
    expect(results.at(-1)!.stderr).toMatch(
      /expected shape \[8, 130, 128\], got \[8, 128, 128\] for model\.layers\.0\.mlp\.experts\.gate_up_proj/,
    );
    expect(readdirSync(scratch)).not.toContain('reshaped-float32-streamed');
  });
});
