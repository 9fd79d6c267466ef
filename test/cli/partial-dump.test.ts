/**
 * A dump whose producer was killed: files that are missing or empty hold no rows, and every command reads the
 * rest.
 */
import { cpSync, mkdtempSync, readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Dump } from '../../src/dump/reader.js';
import { runCommand } from './run-command.js';

const scratch = mkdtempSync(join(tmpdir(), 'zayascope-partial-'));
const tiny = join(import.meta.dirname, '..', '..', 'dumps', 'tiny');
const reference = join(tiny, 'reference-float32');

/** A copy that says partial, of which one file is damaged. */
function partial(name: string, damage: (dir: string) => void): string {
  const dir = join(scratch, name);
  cpSync(reference, dir, { recursive: true });
  const manifest = JSON.parse(readFileSync(join(dir, 'manifest.json'), 'utf8'));
  writeFileSync(join(dir, 'manifest.json'), JSON.stringify({ ...manifest, status: 'partial', steps: 0 }));
  damage(dir);
  return dir;
}

const DAMAGE: Record<string, (dir: string) => void> = {
  'a missing file': (dir) => rmSync(join(dir, 'layers.5.arrow')),
  'an empty file': (dir) => truncateSync(join(dir, 'layers.5.arrow'), 0),
  'a file cut in its magic': (dir) => truncateSync(join(dir, 'layers.5.arrow'), 5),
  'a file cut in its schema': (dir) => truncateSync(join(dir, 'layers.5.arrow'), 100),
  'missing and empty statistics and head': (dir) => {
    rmSync(join(dir, 'stats.arrow'));
    truncateSync(join(dir, 'layers.5.arrow'), 0);
  },
};
const dumps = new Map<string, string>();

beforeAll(() => {
  for (const [k, [name, damage]] of Object.entries(DAMAGE).entries())
    dumps.set(name, partial(String(k), damage));
});

afterAll(() => rmSync(scratch, { recursive: true, force: true }));

describe.each(Object.keys(DAMAGE))('a partial dump with %s', (name) => {
  const dir = () => dumps.get(name)!;

  it('reads as far as it goes', async () => {
    await using dump = await Dump.open(dir());
    await using whole = await Dump.open(reference);
    expect((await dump.rows('layers.5')).position).toHaveLength(0);
    expect(await dump.isWhole('layers.5')).toBe(false);
    expect((await dump.read('layers.4')).data).toEqual((await whole.read('layers.4')).data);
    expect((await dump.stats()).length).toBe(name.includes('statistics') ? 0 : (await whole.stats()).length);
  });
});

// Commands reach files through the same reader, so two kinds of damage are enough of them.
describe.each(['a missing file', 'missing and empty statistics and head'])(
  'of a partial dump with %s',
  (name) => {
    const dir = () => dumps.get(name)!;

    it.each<[string, (dump: string) => string[], number, RegExp]>([
      ['inspect', (dump) => ['inspect', dump], 0, /layers\.5\.arrow +46 +0 /],
      ['inspect --taps', (dump) => ['inspect', dump, '--taps', 'norm,layers.5'], 0, /norm/],
      ['diff', (dump) => ['diff', reference, dump], 1, /The tested dump is partial/],
      ['diff, as the reference', (dump) => ['diff', dump, reference], 1, /The reference dump is partial/],
      ['report', (dump) => ['report', reference, dump, '--out', `${dump}.html`, '--overwrite'], 1, /report/],
      [
        'locate',
        (dump) => ['locate', reference, dump],
        1,
        /NOT JUDGED .*partial[\s\S]*Nothing is said of \d+ of 372 values that both dumps list: they have no row of them in common/,
      ],
      ['export', (dump) => ['export', dump, '--out', `${dump}.safetensors`], 0, /./],
      [
        'verify-logits',
        (dump) => ['verify-logits', reference, dump],
        1,
        /FAIL {2}perfect; .*is partial: a run that did not finish does not pass/,
      ],
      [
        'verify-logits, as the reference',
        (dump) => ['verify-logits', dump, reference],
        1,
        /FAIL {2}perfect; .*is partial: a run that did not finish does not pass/,
      ],
    ])('%s', async (_command, args, code, text) => {
      const result = await runCommand(args(dir()));
      expect(result.stdout + result.stderr).toMatch(text);
      expect(result.stderr).not.toMatch(/\n +at /);
      expect(result.code).toBe(code);
    });
  },
);

describe('a dump is still refused', () => {
  it('if it says complete and lacks rows', async () => {
    const dir = join(scratch, 'complete');
    cpSync(reference, dir, { recursive: true });
    truncateSync(join(dir, 'layers.5.arrow'), 0);
    await using dump = await Dump.open(dir);
    await expect(dump.rows('layers.5')).rejects.toMatchObject({ code: 'BAD_DUMP' });
  });

  it('if it is partial and a file holds something else', async () => {
    const dir = partial('other', (at) => writeFileSync(join(at, 'layers.5.arrow'), 'ARROW2 and more'));
    await using dump = await Dump.open(dir);
    await expect(dump.rows('layers.5')).rejects.toMatchObject({ code: 'BAD_DUMP' });
  });
});
