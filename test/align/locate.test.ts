import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { runCommand } from '../cli/run-command.js';
import { hasLibllama } from '../llamacpp/libllama.js';
import { describeWith } from '../system-package.js';
import { faultJob } from './locate-faults.js';
import { recordWrong } from './numeric-faults.js';
import { makeModels, newFolder, recordTiny } from './tiny-models.js';

const LOST = /^unpaired {2}.* has no partner, and nothing that follows from it agrees/m;

describeWith('a C++ compiler or libllama', hasLibllama, 'locate --align', () => {
  const folder = newFolder();
  const at = (...names: string[]): string => join(folder, ...names);
  beforeAll(async () => {
    const tokens = makeModels([faultJob('llama', folder)]);
    for (const name of ['plain', 'fault-1'])
      await recordTiny(at(`${name}.gguf`), tokens, at(`${name}-recording`));
    const planted = {
      plain: at('plain-recording'),
      tap: 'ffn_norm-1',
      wrong: 'F16',
      out: at('rounded'),
    } as const;
    await recordWrong(at('plain.gguf'), tokens, planted);
    await recordWrong(at('plain.gguf'), tokens, { ...planted, wrong: 'NaN', out: at('nan') });
  });
  afterAll(() => rmSync(folder, { recursive: true, force: true }));

  it('says nothing of the same model', async () => {
    const args = ['locate', at('plain'), at('plain-recording'), '--align', '--model', at('plain.gguf')];
    const { code, stdout } = await runCommand(args);
    expect(code).toBe(0);
    expect(stdout.match(/^SILENT {2}/gm)).toHaveLength(2);
    expect(stdout).toMatch(/^SILENT {2}.*; errors below 1\.0e-6 are not seen \(--fail-above\)/m);
  });

  it('counts what the caller says: the last bits of another order of sums too', async () => {
    const args = ['locate', at('plain'), at('plain-recording'), '--align', '--fail-above'];
    const strict = await runCommand([...args, '1e-16']);
    expect(strict.code).toBe(1);
    expect(strict.stdout).toMatch(/^FAULT {2}/m);
    const { code, stdout } = await runCommand([...args, '1e-4']);
    expect(code).toBe(0);
    expect(stdout).toContain('errors below 1.0e-4 are not seen');
  });

  it('names the activation that is another, and says that it is no matter of arithmetic', async () => {
    const args = ['locate', at('fault-0'), at('plain-recording'), '--align', '--model', at('plain.gguf')];
    const { code, stdout } = await runCommand(args);
    expect(code).toBe(1);
    expect(stdout).toMatch(
      /^first: ffn_swiglu-0 \(GLU\), block 0: its inputs agree \(ffn_(gate|up)-0, ffn_(gate|up)-0\)/m,
    );
    expect(stdout).toMatch(/^semantic: /m);
  });

  it('says of one report which fault is of meaning and which of arithmetic', async () => {
    const args = ['locate', at('fault-0'), at('rounded'), '--align', '--model', at('plain.gguf')];
    const { code, stdout } = await runCommand(args);
    expect(code).toBe(1);
    expect(stdout).toMatch(/^first: ffn_swiglu-0 \(GLU\), block 0: its inputs agree/m);
    expect(stdout).toMatch(/^semantic: /m);
    expect(stdout).toMatch(/^numeric: ffn_norm-1 \(MUL\), block 1: own error .*; rounded through F16$/m);
  });

  it('finds a node rounded through F16 that the comparison does not see', async () => {
    const args = ['locate', at('plain'), at('rounded'), '--align', '--model', at('plain.gguf')];
    const { code, stdout } = await runCommand(args);
    expect(code).toBe(1);
    expect(stdout).toMatch(/^AGREES {2}with the reference, but not every node gives what its inputs give$/m);
    expect(stdout).toMatch(/^numeric: ffn_norm-1 \(MUL\), block 1/m);
  });

  it('names the rotation with another base', async () => {
    const { code, stdout } = await runCommand(['locate', at('plain'), at('fault-1-recording'), '--align']);
    expect(code).toBe(1);
    expect(stdout).toMatch(/^first: [QK]cur-0#2 \(ROPE\), block 0/m);
    expect(stdout).toMatch(/nodes were not run again/);
  });

  it('passes over no value that is not finite, on either side, in any comparison', async () => {
    const located = await runCommand(['locate', at('plain'), at('nan'), '--align']);
    expect(located.code).toBe(1);
    expect(located.stdout).toMatch(/^NOT FINITE {2}/m);
    expect(located.stdout).toMatch(
      /^recording: \d+ values hold NaN or infinity, first ffn_norm-1 \(\d+ NaN, position 0\)$/m,
    );
    const other = await runCommand(['locate', at('nan'), at('plain-recording'), '--align']);
    expect(other.code).toBe(1);
    expect(other.stdout).toMatch(/^reference: \d+ values hold NaN or infinity, first ffn_norm-1/m);
    const diff = await runCommand(['diff', at('plain'), at('nan'), '--align', '--fail-above', '1e-5']);
    expect(diff.code).toBe(1);
    expect(diff.stdout).toMatch(/^NOT FINITE: .* in 1 of the taps .*first return\.logits/m);
  });

  it('compares the logits whatever they hold, and counts what lost its partner by a fault', async () => {
    const args = ['diff', at('fault-0'), at('plain-recording'), '--align', '--fail-above', '1e-5'];
    const { code, stdout } = await runCommand(args);
    expect(code).toBe(1);
    expect(stdout).toMatch(LOST);
    expect(stdout).toMatch(/^first above the threshold: /m);
    const same = await runCommand(['diff', at('plain'), ...args.slice(2)]);
    expect(same.stdout).not.toMatch(LOST);
    expect(same.stdout).toMatch(/^no compared tap exceeds the threshold/m);
  });

  it('wants a recording, and no map', async () => {
    expect(await runCommand(['locate', at('plain'), at('plain'), '--align'])).toMatchObject({ code: 2 });
    const args = ['locate', at('plain'), at('plain-recording'), '--align', '--map', 'zaya'];
    expect(await runCommand(args)).toMatchObject({ code: 2 });
  });
});
