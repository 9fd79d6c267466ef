import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { captureSession } from '../../src/capture/capture-session.js';
import { diffDumps } from '../../src/diff/diff.js';
import type { DiffReport } from '../../src/diff/report.js';
import { Dump } from '../../src/dump/reader.js';
import { openModel } from '../../src/models/runtime/model.js';
import { readReferenceManifest } from '../reference/manifest.js';
import { root, runScripts } from '../reference/python.js';

const scratch = mkdtempSync(join(tmpdir(), 'zayascope-steps-'));
const at = (name: string) => join(scratch, name);
const tiny = join(root, 'dumps', 'tiny');
const { tokens: prompt } = JSON.parse(readFileSync(join(tiny, 'prompt.json'), 'utf8')) as {
  tokens: number[];
};
const LIMIT = 1e-10;

/**
 * A chunked prefill and two decode steps over one prompt, and over three sequences of different lengths in
 * one left-padded batch.
 */
const STEPS = [16, 9, 1, 1];
const one = [prompt.slice(0, 27)];
const three = [prompt.slice(0, 27), prompt.slice(10, 30), prompt.slice(20, 34)];
const below = (sequences: number[][], vocabulary: number) =>
  sequences.map((tokens) => tokens.map((token) => token % vocabulary));

const CASES: Record<string, { model: string; sequences: number[][]; states: number }> = {
  one: { model: join(tiny, 'model'), sequences: one, states: 8 * 4 },
  three: { model: join(tiny, 'model'), sequences: three, states: 8 * 4 },
  odd: { model: at('odd-model'), sequences: three, states: 3 * 4 },
  single: { model: at('single-model'), sequences: below(three, 199), states: 2 * 3 },
};
const ODD =
  '--seed 5 --cca-time0 3 --cca-time1 4 --heads 6 --kv-heads 6 --head-dim 12 --experts 7 --vocab 301 --untied --attention-bias --lm-head-bias --sliding-window 7 --sliding-layers 1,2 --dtype f32';
const SINGLE =
  '--seed 6 --heads 5 --kv-heads 1 --head-dim 14 --experts 3 --layers 2 --cca-time0 1 --cca-time1 1 --skip-share 0.3 --partial-rotary 1';

const reports = new Map<string, DiffReport>();

beforeAll(async () => {
  const calls = Object.entries(CASES).map(([name, { model, sequences }]) => {
    writeFileSync(at(`${name}.json`), JSON.stringify({ sequences }));
    const source = ['--model', model, '--tokens-file', at(`${name}.json`), '--dtype', 'float32'];
    return {
      script: 'dump' as const,
      args: [...source, '--steps', STEPS.join(), '--out', at(`${name}-reference`)],
    };
  });
  const random = [
    { script: 'random_checkpoint' as const, args: ['--out', at('odd-model'), ...ODD.split(' ')] },
    { script: 'random_checkpoint' as const, args: ['--out', at('single-model'), ...SINGLE.split(' ')] },
  ];
  const results = runScripts([...random, ...calls]);
  expect(results.filter(({ status, stderr }) => status !== 0 || stderr !== '')).toEqual([]);
  for (const [name, { model, sequences }] of Object.entries(CASES)) {
    using zaya = await openModel(model);
    using session = zaya.session({ batch: sequences.length, capacity: 64 });
    await using captured = await captureSession(zaya, session, { out: at(`${name}-ours`) });
    const width = Math.max(...sequences.map(({ length }) => length));
    let past = 0;
    for (const size of STEPS) {
      const part = (tokens: number[]) => {
        const padding = width - tokens.length;
        return tokens.slice(Math.max(0, past - padding), past + size - padding);
      };
      await captured.forwardBatch(sequences.map(part));
      past += size;
    }
    await captured.finish();
    await using reference = await Dump.open(at(`${name}-reference`));
    await using ours = await Dump.open(at(`${name}-ours`));
    reports.set(name, await diffDumps(reference, ours, { failAbove: LIMIT }));
  }
});
afterAll(() => rmSync(scratch, { recursive: true }));

describe.each(Object.entries(CASES))(
  'dump.py --steps (%s) and a session of the same calls',
  (name, expected) => {
    it('have every tap, state and row paired', () => {
      const { unpaired, notCaptured, notes, tapReports } = reports.get(name)!;
      expect({ unpaired, notes, notCaptured }).toEqual({
        unpaired: [],
        notes: [],
        notCaptured: [],
      });
      const states = tapReports.filter((tap) => /(_state|_cache)$/.test(tap.name));
      expect(states).toHaveLength(expected.states);
      // of caches one row a step and sequence
      const rows = expected.sequences.length * STEPS.length;
      expect(states.map((tap) => 'rows' in tap && tap.rows)).toEqual(states.map(() => rows));
    });

    it(`agree within ${LIMIT} at every tap and state, and in every expert`, () => {
      const { pass, tapReports } = reports.get(name)!;
      const off = tapReports.filter((tap) =>
        tap.kind === 'float'
          ? !(tap.metrics.nmse <= LIMIT)
          : tap.kind === 'integer' && tap.metrics.differing > 0,
      );
      expect(off.map((tap) => tap.name)).toEqual([]);
      expect(pass).toBe(true);
    });

    it('state the calls: every row of a sequence once, padding never', async () => {
      const manifest = readReferenceManifest(at(`${name}-reference`));
      expect(manifest.sequences).toEqual(expected.sequences.map((tokens) => ({ tokens })));
      expect(manifest.steps).toBe(STEPS.length);
      expect(manifest.producer.logitsEqualUntraced).toBe(true);
      await using dump = await Dump.open(at(`${name}-reference`));
      const { sequence, position, tokenId, step } = await dump.rows('layers.0');
      const rows = Array.from(position, (p, row) => [sequence[row], p, tokenId[row], step[row]]);
      const width = Math.max(...expected.sequences.map(({ length }) => length));
      const ends = STEPS.map((_, k) => STEPS.slice(0, k + 1).reduce((a, b) => a + b));
      const stepOf = (slot: number) => ends.findIndex((end) => slot < end);
      const wanted = expected.sequences.flatMap((tokens, s) =>
        tokens.map((token, p) => [s, p, token, stepOf(p + width - tokens.length)]),
      );
      const byPlace = (a: unknown[], b: unknown[]) =>
        (a[0] as number) - (b[0] as number) || (a[1] as number) - (b[1] as number);
      expect(rows.toSorted(byPlace)).toEqual(wanted);
    });
  },
);
