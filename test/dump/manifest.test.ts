/** What a manifest of version 2 may say, and when a dump is one. */
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { tableFromIPC } from 'apache-arrow';
import { describe, expect, it } from 'vitest';
import type { DumpDescription, TapSpec } from '../../src/dump/format.js';
import { Dump } from '../../src/dump/reader.js';
import { DumpWriter } from '../../src/dump/writer.js';
import { description, TAPS, temporaryFolder, writeSampleDump } from './dump-fixture.js';

/** Creates a dump without rows and reads its manifest back. */
async function written(overrides: Partial<DumpDescription>) {
  const dir = join(temporaryFolder(), 'dump');
  await using writer = await DumpWriter.create(dir, description(overrides));
  await writer.finish();
  await using dump = await Dump.open(dir);
  return { dir, dump, manifest: dump.manifest };
}

/** A version 2 dump of whose manifest one field has been changed by hand. */
async function changed(path: readonly (string | number)[], value: unknown): Promise<Dump> {
  const { dir } = await written({ order: 'execution' });
  const file = join(dir, 'manifest.json');
  const manifest: unknown = JSON.parse(readFileSync(file, 'utf8'));
  let place = manifest as Record<string | number, unknown>;
  for (const key of path.slice(0, -1)) place = place[key] as Record<string | number, unknown>;
  place[path.at(-1)!] = value;
  writeFileSync(file, JSON.stringify(manifest));
  return Dump.open(dir);
}

const nullable = (tap: TapSpec): TapSpec => ({ ...tap, nullable: true });

describe('the version of a dump', () => {
  it('is 1 for what version 1 holds', async () => {
    const dir = temporaryFolder();
    await writeSampleDump(dir);
    const manifest = JSON.parse(readFileSync(join(dir, 'manifest.json'), 'utf8'));
    expect(manifest.version).toBe(1);
    expect(Object.keys(manifest)).toEqual(
      ['format', 'version', 'status', 'tier', 'created', 'producer', 'model', 'policy', 'backend'].concat([
        'sequences',
        'selection',
        'steps',
        'taps',
      ]),
    );
    expect(Object.keys(manifest.taps[0])).toEqual([
      'name',
      'block',
      'file',
      'dtype',
      'scope',
      'axes',
      'shape',
    ]);
    expect(readFileSync(join(dir, 'layers.1.arrow')).includes('zayascope.format')).toBe(true);
  });

  it.each<[string, Partial<DumpDescription>]>([
    ['a dtype', { taps: TAPS.map((tap, k) => (k === 0 ? { ...tap, dtype: 'F64' } : tap)) }],
    ['a nullable tap', { taps: TAPS.map((tap, k) => (k === 0 ? nullable(tap) : tap)) }],
    ['a masked tap', { taps: TAPS.map((tap, k) => (k === 0 ? { ...tap, masked: true } : tap)) }],
    ['a model of which only the name is known', { model: { name: 'net' } }],
    ['a sequence without ids', { sequences: [{ length: 6 }] }],
    ['roles', { roles: { logits: ['lm_head'] } }],
    ['an order', { order: 'natural' }],
    ['edges', { edges: [[0, 6]] }],
    ['what did not run', { notRun: [{ name: 'layers.2', reason: 'skipped' }] }],
    ['calls', { calls: [{ step: 0, kind: 'prefill', rows: 6 }] }],
  ])('is 2 with %s, which is read back', async (_what, overrides) => {
    const { manifest } = await written(overrides);
    expect(manifest.version).toBe(2);
    const { taps = [], ...fields } = overrides;
    expect(manifest).toMatchObject(fields);
    for (const [k, tap] of taps.entries()) expect(manifest.taps[k]).toMatchObject(tap);
  });

  it('is chosen when a dump is created: its end may add only what that version holds', async () => {
    const dir = join(temporaryFolder(), 'dump');
    const notRun = [{ name: 'mtp', reason: 'not called' }];
    await using first = await DumpWriter.create(dir, description());
    await expect(first.finish(undefined, { notRun })).rejects.toMatchObject({
      code: 'BAD_ARGUMENT',
      message: expect.stringContaining('version 2'),
    });
    await using second = await DumpWriter.create(dir, description({ notRun: [] }), { overwrite: true });
    expect((await second.finish(undefined, { notRun })).notRun).toEqual(notRun);
  });

  it('stands in every data file', async () => {
    const version = (dir: string) =>
      tableFromIPC(readFileSync(join(dir, 'layers.0.arrow'))).schema.metadata.get('zayascope.format');
    expect(version((await written({ order: 'natural' })).dir)).toBe('2');
    expect(version((await written({})).dir)).toBe('1');
  });
});

describe('a manifest of version 2 is refused', () => {
  it.each<[string, (string | number)[], unknown, RegExp]>([
    ['with a role of no tap', ['roles'], { logits: ['head'] }, /roles\.logits\[0\], got "head"/],
    ['with roles that are a list', ['roles'], [], /an object in roles/],
    ['with an unknown order', ['order'], 'random', /in order, got "random"/],
    ['with an edge to no tap', ['edges'], [[0, 7]], /an integer below 7 in edges\[0\]\[1\], got 7/],
    ['with half an edge', ['edges'], [[0]], /a pair \[from, to\] in edges\[0\]/],
    ['with a graph elsewhere', ['graph'], { file: '../graph.json' }, /graph\.file, got "\.\.\//],
    ['with a call of no kind', ['calls'], [{ step: 0, kind: 'x', rows: 1 }], /calls\[0\]\.kind/],
    ['without a reason', ['notRun'], [{ name: 'a' }], /a string in notRun\[0\]\.reason/],
    ['with a sequence of no length', ['sequences'], [{}], /sequences\[0\]\.length, got nothing/],
    ['with two lengths', ['sequences', 0, 'length'], 5, /expected 6 in sequences\[0\]\.length, got 5/],
    ['with a nullable state', ['taps', 3, 'nullable'], true, /scope token in taps\[3\]\.nullable/],
    ['with part of a block', ['taps', 0, 'dtype'], 'Q8_0', /a multiple of 32, the block of Q8_0,/],
    ['with a quantised number', ['taps', 4, 'dtype'], 'Q8_0', /the block of Q8_0/],
    ['with a name that is no text', ['taps', 0, 'name'], 'a\ud800', /well-formed Unicode/],
    ['with a control character', ['taps', 0, 'name'], 'a\u001b[2J', /without control characters/],
    ['with a long name', ['taps', 0, 'name'], 'a'.repeat(1025), /at most 1024 UTF-16 units/],
    ['with the name of a column', ['taps', 0, 'name'], 'token_id', /other than sequence/],
    ['with the name of a shape', ['taps', 0, 'name'], 'a#shape', /does not end in #shape/],
  ])('%s', async (_what, path, value, message) => {
    await expect(changed(path, value)).rejects.toMatchObject({
      code: 'BAD_DUMP',
      message: expect.stringMatching(message),
    });
  });

  it('but version 1 may use those names for something else', async () => {
    const dir = temporaryFolder();
    await writeSampleDump(dir);
    const file = join(dir, 'manifest.json');
    const manifest = JSON.parse(readFileSync(file, 'utf8'));
    writeFileSync(file, JSON.stringify({ ...manifest, roles: 7, edges: 'none', order: 'random' }));
    await using dump = await Dump.open(dir);
    expect(dump.manifest).not.toHaveProperty('roles');
    expect(dump.roles).toEqual({ logits: ['lm_head'], 'router.expert': ['layers.1.mlp.gate:expert'] });
  });
});

describe('roles', () => {
  it('of a known family come from its names', async () => {
    const { dump } = await written({});
    expect(dump.roles).toEqual({ logits: ['lm_head'], 'router.expert': ['layers.1.mlp.gate:expert'] });
  });

  it('are not guessed for others', async () => {
    const { type: _, ...model } = description().model;
    expect((await written({ model: { ...model, type: 'llama' } })).dump.roles).toBeUndefined();
    expect((await written({ model })).dump.roles).toBeUndefined();
  });

  it('that the manifest states replace those of the family', async () => {
    const { dump } = await written({ roles: { residual: ['embed_tokens'] } });
    expect(dump.roles).toEqual({ residual: ['embed_tokens'] });
  });
});

describe('a name that readers refuse', () => {
  it.each(['', 'a\ud800', '\udc00b', 'a\n', 'step', 'x#shape', 'a'.repeat(1025)])(
    'is refused by the writer: %o',
    async (name) => {
      const dir = join(temporaryFolder(), 'dump');
      const taps = TAPS.map((tap, k) => (k === 0 ? { ...tap, name } : tap));
      await expect(DumpWriter.create(dir, description({ taps }))).rejects.toMatchObject({
        code: 'BAD_ARGUMENT',
      });
      expect(existsSync(dir)).toBe(false);
    },
  );

  it.each(['😀', 'a'.repeat(1024), 'layers.0 [x], {y}', 'ä\u0301'])('is not %o', async (name) => {
    const taps = TAPS.map((tap, k) => (k === 0 ? { ...tap, name } : tap));
    expect((await written({ taps })).dump.tap(name).name).toBe(name);
  });
});

describe('the text of a manifest', () => {
  async function rewritten(change: (text: string) => string): Promise<Dump> {
    const { dir } = await written({});
    const file = join(dir, 'manifest.json');
    writeFileSync(file, change(readFileSync(file, 'utf8')));
    return Dump.open(dir);
  }

  it('may hold NaN and infinities as Python writes them', async () => {
    // What json.dumps({"eps": float("nan"), "scale": [float("inf"), float("-inf")]}) gives.
    const config = '"config": {"eps": NaN, "scale": [Infinity, -Infinity]}';
    await using dump = await rewritten((text) => text.replace(/"config": \{[^}]*\}/, config));
    expect(dump.manifest.model.config).toEqual({ eps: Number.NaN, scale: [Infinity, -Infinity] });
  });

  it.each([
    [
      'a number that must be a count',
      (text: string) => text.replace(/"steps": \d+/, '"steps": NaN'),
      /integer.*steps/,
    ],
    ['a byte-order mark', (text: string) => `\ufeff${text}`, /without a byte-order mark/],
    ['a key twice', (text: string) => text.replace('{', '{"version": 1,'), /"version" twice/],
    ['deep nesting', () => `${'['.repeat(100_000)}${']'.repeat(100_000)}`, /nested at most 32 deep/],
    ['a syntax error', (text: string) => text.slice(1), /a syntax error|expected a JSON object/],
  ])('is refused with %s', async (_, change, message) => {
    await expect(rewritten(change)).rejects.toMatchObject({
      code: 'BAD_DUMP',
      message: expect.stringMatching(message),
    });
  });
});
