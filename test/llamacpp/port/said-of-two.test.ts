/** What commands say of two dumps that pair in part or not at all, of a cut run, and of the wrong path. */
import { copyFileSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeAll, describe, expect, it } from 'vitest';
import { Dump } from '../../../src/index.js';
import { runCommand } from '../../cli/run-command.js';
import {
  PORT_IDS,
  portDump,
  portFolder,
  portModel,
  portReference,
  portScratch,
  TINY_MODEL,
} from './port-folders.js';

async function captured(ids: readonly number[], as: string): Promise<string> {
  const out = portScratch(as);
  await runCommand([
    'capture',
    '--model',
    TINY_MODEL,
    '--tokens',
    ids.join(),
    '--threads',
    '1',
    '--out',
    out,
  ]);
  return out;
}

describe('a run of another prompt', () => {
  it('is identical in nothing', async () => {
    const other = await captured(
      PORT_IDS.map((id) => (id + 1) % 259),
      'other-prompt',
    );
    const diff = await runCommand(['diff', portReference(), other]);
    expect(diff.code).toBe(1);
    expect(diff.stdout).toMatch(/^FAIL .*; 0 of 372 taps compared, 0 identical, /m);
    expect(diff.stdout).toContain('note: Nothing was compared.');
    expect(diff.stdout).not.toContain('is identical');
    const page = ['--out', portScratch('other-prompt.html')];
    const report = await runCommand(['report', portReference(), other, ...page]);
    expect(report.code).toBe(1);
    expect(report.stdout).toContain('nothing was compared: 372 taps have no row in common');
    expect(report.stdout).not.toContain('identical');
  });

  it('of which the beginning is the same says how much, and that the rest fails', async () => {
    const half = await captured(PORT_IDS.slice(0, 12), 'half-prompt');
    const { code, stdout } = await runCommand(['diff', half, half]);
    expect({ code, stdout }).toEqual({
      code: 0,
      stdout: expect.stringContaining('every compared value is identical\n'),
    });
    const shorter = await runCommand(['diff', portReference(), half, '--fail-above', '1']);
    expect(shorter.code).toBe(1);
    expect(shorter.stdout).toContain('no compared tap exceeds the threshold; what has no partner fails');
    // Without a limit too: README and docs/import.md say so.
    const plain = await runCommand(['diff', portReference(), half]);
    expect({ code: plain.code, stdout: plain.stdout }).toEqual({
      code: 1,
      stdout: expect.stringMatching(/^FAIL {2}no limit given/m),
    });
  });
});

describe('a run that did not finish', () => {
  let dump: string;
  beforeAll(async () => {
    const folder = portScratch('cut-run');
    mkdirSync(folder);
    const lines = readFileSync(join(portFolder('before-f32'), 'index.jsonl'), 'utf8').split('\n', 240);
    writeFileSync(join(folder, 'index.jsonl'), `${lines.join('\n')}\n`);
    copyFileSync(join(portFolder('before-f32'), 'tensors.bin'), join(folder, 'tensors.bin'));
    dump = portScratch('cut-dump');
    const { stdout } = await runCommand(['import', folder, '--map', 'llamacpp', '--out', dump]);
    expect(stdout).toContain(`dump      ${dump}: partial, the run did not finish\n`);
  });

  it('stays partial, with all that was computed', async () => {
    await using cut = await Dump.open(dump);
    await using whole = await Dump.open(await portDump('before-f32'));
    expect(cut.manifest).toMatchObject({ status: 'partial', steps: 1 });
    const { data } = await cut.read('layers.3');
    expect(data).toEqual((await whole.read('layers.3')).data);
  });

  it('is called so by everything that compares it, and passes nothing', async () => {
    const said = {
      diff: 'note: The tested dump is partial: its producer did not finish.',
      locate: 'note: cut-dump is partial: its producer did not finish.',
    };
    for (const [name, words] of Object.entries(said))
      expect((await runCommand([name, portReference(), dump])).stdout).toContain(words);
    const { stdout } = await runCommand(['report', portReference(), dump, '--out', portScratch('cut.html')]);
    expect(stdout).toContain('the tested dump is partial: its producer did not finish');
    const logits = await runCommand(['verify-logits', portReference(), dump]);
    expect(logits.stderr).toContain('got one without, of a run that did not finish');
    const whole = await portDump('before-f32');
    const same = await runCommand(['diff', whole, dump]);
    expect({ code: same.code, stdout: same.stdout }).toEqual({
      code: 1,
      stdout: expect.stringMatching(
        /^FAIL {2}no limit given[\s\S]*every compared value is identical; a run that did not finish does not pass$/m,
      ),
    });
    const judged = await runCommand(['diff', whole, dump, '--fail-above', '1']);
    expect(judged.code).toBe(1);
    expect(judged.stdout).toContain(
      'no compared tap exceeds the threshold; a run that did not finish does not pass',
    );
  });
});

it('prints digits enough to tell two numbers apart', async () => {
  const { stdout } = await runCommand(['diff', portReference(), await portDump('before-f32')]);
  const [, a, b] = /^first that is not identical: .*: (\S+) and (\S+)$/m.exec(stdout)!;
  expect(Number(a)).not.toBe(Number(b));
});

it('says in a sentence which folder a file is a part of, and what is not there', async () => {
  const [raw, dump, gguf] = [
    portFolder('before-f32'),
    await portDump('before-f32'),
    await portModel('before-f32'),
  ];
  const [reference, out] = [portReference(), portScratch('x')];
  const inPort = `got a file of a llama.cpp port's folder: pass the folder, ${raw}`;
  const inDump = `got a file of a dump: pass the folder, ${dump}`;
  const cases: [args: string[], words: string][] = [
    ...['tensors.bin', 'index.jsonl'].flatMap((name): [string[], string][] => [
      [['import', join(raw, name), '--map', 'llamacpp', '--out', out], inPort],
      [['diff', reference, join(raw, name)], inPort],
      [['verify-logits', reference, join(raw, name)], inPort],
      [['inspect', join(raw, name)], inPort],
      [['port', join(raw, name), '--model', gguf, '--reference', reference], inPort],
    ]),
    ...['manifest.json', 'layers.0.arrow'].flatMap((name): [string[], string][] => [
      [['import', join(dump, name), '--out', out], inDump],
      [['diff', reference, join(dump, name)], inDump],
      [['locate', reference, join(dump, name)], inDump],
      [['report', reference, join(dump, name), '--out', out], inDump],
      [['verify-logits', reference, join(dump, name)], inDump],
      [['inspect', join(dump, name)], inDump],
    ]),
    [['inspect', raw], 'got the folder of a llama.cpp port: zayascope import makes a dump of it'],
    [['import', 'nope', '--out', out], 'expected a file or folder, got nothing (nope)'],
    [['import', raw, '--out', out, '--config', 'nope'], 'got nothing (nope)'],
    [['import', raw, '--out', out, '--map', 'nope.json'], 'got nothing (nope.json)'],
    [['import', raw, '--out', out, '--order', 'nope'], 'got nothing (nope)'],
    [['import', raw, '--out', out, '--tokens-file', 'nope'], 'got nothing (nope)'],
    [['locate', reference, dump, '--model', 'nope'], 'got nothing (nope)'],
    [['locate', reference, dump, '--model', gguf, '--policy', 'nope.json'], 'got nothing (nope.json)'],
    [['verify-logits', 'nope', dump], 'got nothing (nope)'],
  ];
  for (const [args, words] of cases) {
    const { code, stdout, stderr } = await runCommand(args);
    expect({ args, code, stdout, stderr }).toEqual({
      args,
      code: 2,
      stdout: '',
      stderr: expect.stringContaining(words),
    });
    expect(stderr).not.toMatch(/E[A-Z]{4,}:/);
  }
});

it('is judged where logits of the last token alone were asked for, as the header records it', async () => {
  const folder = portScratch('last-with-outputs');
  mkdirSync(folder, { recursive: true });
  copyFileSync(join(portFolder('before-f32-last'), 'tensors.bin'), join(folder, 'tensors.bin'));
  const lines = readFileSync(join(portFolder('before-f32-last'), 'index.jsonl'), 'utf8').split('\n');
  const { tokens } = JSON.parse(lines[1]!) as { tokens: number[] };
  const last = tokens.length - 1;
  const outputs = tokens.map((_, k) => (k === last ? 1 : 0));
  const zeros = tokens.map(() => 0);
  lines[1] = JSON.stringify({ tokens, positions: [...tokens.keys()], sequences: zeros, outputs });
  writeFileSync(join(folder, 'index.jsonl'), lines.join('\n'));
  const model = await portModel('before-f32-last');
  const out = portScratch('last-with-outputs-out');
  const args = [
    'port',
    folder,
    '--model',
    model,
    '--reference',
    portReference(),
    '--threads',
    '1',
    '--out',
    out,
  ];
  const { code, stdout, stderr } = await runCommand(args);
  expect({ code, stderr }, stdout).toEqual({ code: 1, stderr: '' });
  expect(stdout).toMatch(/^first fault.*: layers\.0\.self_attn\.qkv_proj\.conv_qk_grouped$/m);
});
