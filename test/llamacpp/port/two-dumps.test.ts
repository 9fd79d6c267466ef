/**
 * Commands that read two dumps, on one of the branch: without a model, beside a noise floor, and with the
 * branch's own names.
 */
import { readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { beforeAll, describe, expect, it } from 'vitest';
import { runCommand } from '../../cli/run-command.js';
import {
  PORT_IDS,
  portDump,
  portFolder,
  portModel,
  portNoise,
  portReference,
  portScratch,
  TINY_MODEL,
} from './port-folders.js';

const FIRST = 'first fault: layers.0.self_attn.qkv_proj.conv_qk_grouped';

it.each(['before-f32', 'before-f32-decode'] as const)(
  'names the convolution without a model too (%s)',
  async (folder) => {
    const { code, stdout, stderr } = await runCommand(['locate', portReference(), await portDump(folder)]);
    expect({ code, stderr }).toEqual({ code: 1, stderr: '' });
    expect(stdout).toContain(FIRST);
  },
);

it('judges 8 of 9 classes of the router step by step too, beside a noise floor', async () => {
  const args = ['locate', portReference(), await portDump('before-f32-decode'), '--noise', portNoise()];
  const { code, stdout } = await runCommand([...args, '--json']);
  const { kinds } = JSON.parse(stdout) as { kinds: { kind: string }[] };
  expect([code, kinds.map(({ kind }) => kind)]).toEqual([1, ['.mlp.gate:expert']]);
});

it('names mixed sequences without a model too, and compares what a reference of one sequence has', async () => {
  const two = await portDump('before-f32-two-sequences');
  // The first fault, whose inputs are right, is the reference's own value read in another order.
  const halves = portScratch('halves');
  const tokens = portScratch('halves.json');
  writeFileSync(tokens, JSON.stringify([PORT_IDS.slice(0, 12), PORT_IDS.slice(12)]));
  const args = ['capture', '--model', TINY_MODEL, '--tokens-file', tokens, '--out', halves];
  expect(await runCommand(args)).toMatchObject({ code: 0 });
  const { stdout } = await runCommand(['locate', halves, two]);
  expect(stdout).toMatch(
    /^1\. The sequences of the batch are mixed: what lies \[channels, sequences, tokens\] in memory is read as \[sequences, channels, tokens\]\. NMSE 1\.9e\+0 as given, (0|\d\.\de-1\d) with the reference's value read so\./m,
  );
  const whole = await runCommand(['locate', portReference(), two]);
  expect(whole).toMatchObject({ code: 1, stderr: '' });
  expect(whole.stdout).toContain('only 12 are compared');
});

describe('the two in the wrong order', () => {
  it.each(['diff', 'locate', 'report', 'verify-logits'])(
    'are refused by %s, with the right command',
    async (name) => {
      const [reference, dump] = [portReference(), await portDump('before-f32')];
      const more = name === 'report' ? ['--out', portScratch('swapped.html')] : [];
      const models =
        name === 'diff' || name === 'verify-logits' ? [[]] : [[], ['--model', await portModel('before-f32')]];
      for (const model of models) {
        const { code, stdout, stderr } = await runCommand([name, dump, reference, ...more, ...model]);
        expect({ code, stdout }).toEqual({ code: 2, stdout: '' });
        expect(stderr).toContain(
          `${name}: expected the reference first, got an import of llama.cpp (${dump}) and then a dump of transformers: swap them (zayascope ${name} ${[reference, dump, ...more].join(' ')}), other options as they are`,
        );
      }
    },
  );

  it('are refused of the files of the conversion scripts too', async () => {
    const [own, port] = [portScratch('pytorch-x.bin'), portScratch('llamacpp-x.bin')];
    for (const file of [own, port]) writeFileSync(file, new Uint8Array(Float32Array.of(1, 2, 3).buffer));
    const dump = await portDump('before-f32');
    for (const first of [port, dump]) {
      const { code, stderr } = await runCommand(['verify-logits', first, own]);
      expect(code).toBe(2);
      expect(stderr).toContain(
        `and then logits of PyTorch: swap them (zayascope verify-logits ${own} ${first})`,
      );
    }
    expect(await runCommand(['verify-logits', own, port])).toMatchObject({ code: 0, stderr: '' });
  });

  it('are no other two: an import is the reference of another, and of a capture', async () => {
    const [before, after] = [await portDump('before-f32'), await portDump('after-f32')];
    const two = await runCommand(['diff', before, after]);
    expect({ code: two.code, stderr: two.stderr }).toEqual({ code: 0, stderr: '' });
    const out = portScratch('own-run');
    const run = ['--tokens', PORT_IDS.join(), '--threads', '1', '--out', out];
    await runCommand(['capture', '--model', TINY_MODEL, ...run]);
    const { stdout, stderr } = await runCommand(['locate', before, out]);
    expect(stderr).toBe('');
    // The import has no probability of the class that the capture chooses.
    expect(stdout).toMatch(/became 8, .*\(margin –, /);
    expect(stdout).not.toContain('NaN');
  });
});

it.each(['mlp.gate:expert', 'mlp.gate:biased_router_probs'])(
  '%s is reproduced, though the branch holds 8 of 9 classes of the router',
  async (name) => {
    const out = portScratch(`repro-${name.split(':')[1]}`);
    const [dump, gguf] = [await portDump('before-f32'), await portModel('before-f32')];
    const written = ['repro', dump, '--model', gguf, '--op', `layers.1.${name}`, '--out', out];
    expect(await runCommand(written)).toMatchObject({ code: 0, stderr: '' });
    const { code, stdout } = await runCommand(['repro', 'run', out, '--backends', 'cpu', '--json']);
    expect(code).toBe(0);
    const { results, graphChanged } = JSON.parse(stdout);
    expect(graphChanged).toBe(false);
    if (name.endsWith('probs')) expect(results[0].expected.nmse).toBeLessThan(1e-12);
    // The branch never chooses the skip class, which three of the 24 tokens should.
    else expect(results[0].expected.bitEqual).toBe(21 / 24);
  },
);

describe('a dump that kept the names of the branch', () => {
  const map = ['--map', 'llamacpp'];
  let kept: string;
  let reference: string;
  beforeAll(async () => {
    kept = portScratch('kept-names');
    reference = portReference();
    // A map without rules keeps all names.
    const { code } = await runCommand(['import', portFolder('before-f32'), '--keep-unmapped', '--out', kept]);
    expect(code).toBe(0);
  });

  it('is compared by diff', async () => {
    const { code, stdout } = await runCommand(['diff', reference, kept, ...map, '--json']);
    expect([code, JSON.parse(stdout).tapReports.length]).toEqual([0, 324]);
  });

  it('is located', async () => {
    const gguf = await portModel('before-f32');
    const args = ['locate', reference, kept, ...map, '--model', gguf, '--threads', '1'];
    const { code, stdout, stderr } = await runCommand(args);
    expect({ code, stderr }).toEqual({ code: 1, stderr: '' });
    expect(stdout).toContain(FIRST);
    expect(stdout).toContain(`next: zayascope diff ${reference} ${kept} --map llamacpp --taps `);
  });

  it('is reported, beside a noise floor', async () => {
    const out = portScratch('kept.html');
    const args = ['report', reference, kept, ...map, '--noise-floor', portNoise(), '--fail-above', '1e-9'];
    const { code, stdout, stderr } = await runCommand([...args, '--out', out, '--json']);
    // Every value must have been compared with the floor.
    expect({ code, stderr }).toEqual({ code: 1, stderr: '' });
    const report = JSON.parse(stdout);
    expect(report).toMatchObject({ outcome: 'FAIL', taps: 324, tensorTaps: 324 });
    expect(report.sentence).toContain('of 308 taps beyond the noise floor');
  });

  it('is checked by verify-logits', async () => {
    const { stdout } = await runCommand(['verify-logits', reference, kept, ...map, '--json']);
    const verdict = { pass: true, tokens: { outcome: 'same' }, vocabulary: 259 };
    expect(JSON.parse(stdout)).toMatchObject(verdict);
  });
});

describe('one dump with itself', () => {
  it('is said to be the same by all that compares', async () => {
    const dump = await portDump('before-f32');
    const link = portScratch('link-to-it');
    symlinkSync(dump, link);
    const words = `Both sides are the same dump (${dump}): that they agree says nothing.`;
    for (const args of [['diff'], ['locate'], ['locate', '--model', await portModel('before-f32')]]) {
      const { stdout } = await runCommand([...args, dump, dump]);
      expect(stdout).toContain(`note: ${words}`);
    }
    expect((await runCommand(['diff', link, dump])).stdout).toContain(words);
    const page = portScratch('same.html');
    await runCommand(['report', dump, dump, '--out', page]);
    expect(readFileSync(page, 'utf8')).toContain('Both sides are the same dump');
    expect((await runCommand(['verify-logits', dump, dump])).stdout).toContain(words);
    expect((await runCommand(['diff', portReference(), dump])).stdout).not.toContain('the same dump');
  });
});
