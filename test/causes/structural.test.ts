import { cpSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { UNKNOWN } from '../../src/dump/import/foreign.js';
import { Dump } from '../../src/dump/reader.js';
import { formatLocate } from '../../src/locate/faults/format.js';
import { locateDumps } from '../../src/locate/faults/locate.js';
import type { LocateReport } from '../../src/locate/faults/report.js';
import { runCommand } from '../cli/run-command.js';
import { locateStructural, model, namedCause, plantStructural } from './structural.js';

// A sample, and every fault of a part: `structural.slow.test.ts` has all. While tests are collected: each
// fault is a test.
const SAMPLE = [
  'output-transposed',
  'gate-up-exchanged',
  'expert-plus-one',
  'other-key-head',
  'position-plus-one',
  'residual-left-out',
  'block-repeated',
  'experts-exchanged',
  'output-in-q8_0',
  'weight-is-nan',
];
const PARTS = [
  'one-query-head',
  'one-kv-head',
  'one-channel-of-every-head',
  'one-expert',
  'one-key',
  'one-choice',
];
const { faults, unaltered, folder } = plantStructural({ only: [...SAMPLE, ...PARTS] });
afterAll(() => rmSync(folder, { recursive: true }));

const dumpOf = (name: string) => faults.find((fault) => fault.name === name)!.dump;
const reports = new Map<string, Promise<LocateReport>>();
const located = (name: string) => {
  const known = reports.get(name) ?? locateStructural(unaltered, dumpOf(name));
  reports.set(name, known);
  return known;
};
const sentence = async (name: string) => (await located(name)).kinds[0]!.sentence;

describe('a fault of structure', () => {
  it.each(faults.filter(({ cause }) => cause !== null))(
    '$name: its cause is $cause',
    async ({ name, tap, cause }) => {
      const report = await located(name);
      expect(namedCause(report)).toMatchObject({ firstFault: tap, cause });
      expect(report.kinds[0]!.cause).toBe(0);
      expect(report.causes[0]!.after).toBeLessThanOrEqual(report.kinds[0]!.limit);
      expect(formatLocate(report).split('\n').length).toBeLessThanOrEqual(40);
    },
  );

  it('is told in one sentence with the error before and after', async () => {
    expect(await sentence('output-transposed')).toMatch(
      /^`self_attn\.o_proj\.weight` is transposed in every block: NMSE \d\.\de[+-]\d+ as given, \d\.\de-1[45] transposed\./,
    );
    expect(await sentence('gate-up-exchanged')).toMatch(
      /^Gate and up are swapped in the experts' gated activation in every block: NMSE /,
    );
    expect(await sentence('expert-plus-one')).toMatch(
      /^Every token runs through the expert after its own in every block: NMSE /,
    );
  });

  it('that many kinds of op have in common is one line', async () => {
    const report = await located('block-repeated');
    expect(report.causes).toHaveLength(1);
    const [cause] = report.causes;
    expect(cause).toMatchObject({ key: 'block -1', blocks: [2] });
    expect(cause!.kinds.length).toBeGreaterThan(15);
    expect(report.kinds.every((kind) => kind.cause === 0)).toBe(true);
    const text = formatLocate(report);
    expect(text.match(/Block 2 has the weights of block 1/g)).toHaveLength(1);
    expect(text).not.toContain('has the same cause');
  });

  it('is none where nothing was altered, nor for a value that is NaN', async () => {
    expect(await locateStructural(unaltered, unaltered)).toMatchObject({ found: false, causes: [] });
    const report = await located('weight-is-nan');
    expect(report.causes).toEqual([]);
    const [judged] = formatLocate(report).split('\nrouting:');
    expect(judged).not.toMatch(/\b0 of \d/);
  });
});

describe('a fault of a part of a value', () => {
  it.each(faults.filter(({ within }) => within !== null))(
    '$name: is $within, and only a cause that it has is named',
    async ({ name, tap, within, cause, dump }) => {
      for (const withModel of [true, false]) {
        const report = withModel
          ? await located(name)
          : await locateStructural(unaltered, dump, { withModel });
        expect(report.firstFault).toBe(tap);
        const [axis, wrong] = within!;
        expect(report.kinds[0]!.within).toMatchObject([
          { axis, wrong, first: wrong[0], count: wrong.length },
        ]);
        const named = cause === null || !withModel ? [] : [cause];
        expect(report.causes.map(({ key }) => key)).toEqual(named);
      }
    },
  );

  it('is told in words', async () => {
    expect(await sentence('one-query-head')).toContain(' Only query head 3 of 8 is wrong.');
    expect(await sentence('one-kv-head')).toContain(' Only KV head 1 of 2 is wrong.');
    expect(await sentence('one-expert')).toMatch(
      / Only tokens of expert 5 \(of \d that are chosen\) are wrong\./,
    );
    expect(await sentence('one-key')).toMatch(
      / Only key 3 of 56 is wrong\. Right up to position 2, wrong from 3 on\.$/,
    );
  });
});

describe('what a dump is', () => {
  it("is no other model's for another block's weights, where nothing is known of its weights", async () => {
    await using reference = await Dump.open(unaltered);
    await using tested = await Dump.open(dumpOf('block-repeated'));
    tested.manifest.model.weightsSha256 = UNKNOWN;
    const report = await locateDumps(reference, tested, model);
    expect(report.mismatch).toBeNull();
    expect(namedCause(report).cause).toBe('block -1');
  });

  it.each([{ options: ['--model', model] }, { options: [] }])(
    'is said first where it is partial',
    async ({ options }) => {
      const partial = join(folder, 'partial');
      cpSync(dumpOf('one-kv-head'), partial, { recursive: true });
      const file = join(partial, 'manifest.json');
      writeFileSync(file, JSON.stringify({ ...JSON.parse(readFileSync(file, 'utf8')), status: 'partial' }));
      const { stdout } = await runCommand(['locate', unaltered, partial, ...options]);
      const [note] = /(?<=^note: ).*$/m.exec(stdout)!;
      expect(note).toBe('partial is partial: its producer did not finish.');
    },
  );
});

describe('the next step', () => {
  it.each([
    ['with a model', ['--model', model], 'repro'],
    ['without one', [], 'diff'],
  ])('%s leads to the first fault and runs', async (_, options, command) => {
    for (const name of ['one-kv-head', 'one-choice']) {
      const { stdout } = await runCommand(['locate', unaltered, dumpOf(name), ...options]);
      const [first] = /(?<=^first fault: ).*$/m.exec(stdout)!;
      const [, next] = /^ +next: zayascope (.*)$/m.exec(stdout)!;
      const words = next!.replace(/--out repro\S*/, `--out ${join(folder, 'repro', name)}`).split(' ');
      expect(words[0]).toBe(command);
      expect(words.find((word) => word.split(',').at(-1) === first)).toBeDefined();
      mkdirSync(join(folder, 'repro'), { recursive: true });
      const { code, stderr } = await runCommand(words);
      expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
    }
  });
});
