import { statSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { toBigInt64 } from '../../src/dump/float.js';
import { Dump } from '../../src/dump/reader.js';
import { runCommand } from '../cli/run-command.js';
import { runChecks } from './run-checks.js';

describe('zayascope.capture on modules that know nothing of it', () => {
  const place = runChecks('stranger_checks.py');
  const at = (...names: string[]): string => join(place.folder, ...names);

  it('gives dumps that inspect and diff take, with the first divergence where the fault is', async () => {
    const [reference, altered] = [at('encoder_decoder', 'ref'), at('encoder_decoder', 'altered')];
    const shown = await runCommand(['inspect', reference]);
    expect(shown).toMatchObject({ code: 0, stderr: '' });
    expect(shown.stdout).toMatch(/^model +EncoderDecoder \(F32\)$/m);
    expect(shown.stdout).toMatch(/^taps +49 \(F32 49\)$/m);
    const same = await runCommand(['diff', reference, reference, '--fail-above', '0']);
    expect(same.code).toBe(0);
    const { code, stdout } = await runCommand(['diff', reference, altered, '--fail-above', '1e-10']);
    expect(code).toBe(1);
    expect(stdout).toMatch(/^first above the threshold: decoder\.layers\.0\.linear1 /m);
  });

  it('gives dumps that report draws', async () => {
    const out = at('report.html');
    const { code, stdout } = await runCommand(['report', at('cnn', 'cnn'), at('cnn', 'cnn'), '--out', out]);
    expect({ code, stdout }).toMatchObject({
      code: 0,
      stdout: expect.stringMatching(/All 7 taps are identical/),
    });
    expect(statSync(out).size).toBeGreaterThan(1e6);
  });

  it('gives every dtype to the TypeScript reader as it was', async () => {
    await using dump = await Dump.open(at('every_dtype', 'd'));
    const { data, dtype } = await dump.read('return.whole');
    expect([...toBigInt64(data, dtype)]).toEqual([2n ** 60n + 1n, -(2n ** 60n) - 3n]);
    expect((await dump.read('return.parts.2')).data).toEqual(new Int8Array([-5]));
    expect((await dump.read('return.parts.3')).data).toEqual(new Uint8Array([200]));
    expect(dump.manifest.notRun).toContainEqual({ name: 'never', reason: 'its forward was not called' });
    expect(dump.manifest.edges!.length).toBeGreaterThan(0);
  });

  it('gives rows that are missing, and values that changed their kind, to the TypeScript reader', async () => {
    await using dump = await Dump.open(at('values_that_change_kind', 'd'));
    const { data, position, shape } = await dump.read('rare');
    expect({ shape, position: [...position], data: [...data] }).toEqual({
      shape: [2, 3],
      position: [4, 5],
      data: [4, 4, 4, 5, 5, 5],
    });
  });
});
