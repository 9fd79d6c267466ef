/**
 * Two sequences of a batch that a program computes as one: the convolution of the second reads the last row
 * of the first. The right value is computed here from the rows, of which the kernel follows.
 */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { Dump, locateDumps } from '../../src/index.js';
import { runCommand } from '../cli/run-command.js';
import { root } from '../reference/python.js';

const model = join(root, 'dumps', 'tiny', 'model');
const scratch = mkdtempSync(join(tmpdir(), 'zayascope-sequences-'));
const right = join(scratch, 'right');
const DEPTHWISE = 'layers.3.self_attn.qkv_proj.conv_qk_depthwise';
const INPUT = 'layers.3.self_attn.qkv_proj:conv_input';

beforeAll(async () => {
  const tokens = join(scratch, 'tokens.json');
  const halves = [
    [257, 91, 87, 101, 100, 110, 101, 115, 100, 97, 121, 32],
    [48, 56, 58, 50, 56, 93, 32, 99, 97, 112, 116, 97],
  ];
  writeFileSync(tokens, JSON.stringify(halves));
  const args = ['capture', '--model', model, '--tokens-file', tokens, '--out', right];
  expect(await runCommand(args)).toMatchObject({ code: 0 });
});
afterAll(() => rmSync(scratch, { recursive: true }));

/** By channel, the kernel's tap of the row before: of y = bias + before * x[t - 1] + now * x[t]. */
function earlierTap(x: Float32Array, y: Float32Array, channels: number): number[] {
  return Array.from({ length: channels }, (_, c) => {
    const at = (values: Float32Array, t: number) => (t < 0 ? 0 : values[t * channels + c]!);
    // Differences of rows are free of the bias: two unknowns, least squares.
    let [aa, ab, bb, ay, by] = [0, 0, 0, 0, 0];
    for (let t = 1; t < x.length / channels; t++) {
      const [a, b] = [at(x, t - 1) - at(x, t - 2), at(x, t) - at(x, t - 1)];
      const d = at(y, t) - at(y, t - 1);
      aa += a * a;
      ab += a * b;
      bb += b * b;
      ay += a * d;
      by += b * d;
    }
    return (ay * bb - by * ab) / (aa * bb - ab * ab);
  });
}

/** The dump, with the first row of the second sequence as if the first went on. */
async function asOne(dump: Dump): Promise<Dump> {
  const read = async (name: string, sequence: number) =>
    (await dump.read(name, { sequence })).data as Float32Array;
  const [x, y] = [await read(INPUT, 0), await read(DEPTHWISE, 0)];
  const channels = x.length / 12;
  const taps = earlierTap(x, y, channels);
  const change = <T extends { tap: { name: string }; data: unknown; sequence: ArrayLike<number> } & object>(
    batch: T & { position: ArrayLike<number> },
  ): T => {
    if (batch.tap.name !== DEPTHWISE) return batch;
    const data = (batch.data as Float32Array).slice();
    for (let row = 0; row < batch.sequence.length; row++)
      if (batch.sequence[row] === 1 && batch.position[row] === 0)
        for (let c = 0; c < channels; c++) data[row * channels + c]! += taps[c]! * x[11 * channels + c]!;
    return { ...batch, data };
  };
  return new Proxy(dump, {
    get(target, key) {
      if (key === 'read')
        return async (...args: Parameters<Dump['read']>) => change(await target.read(...args));
      if (key === 'readRows')
        return async (...args: Parameters<Dump['readRows']>) => {
          const rows = await target.readRows(...args);
          return rows === undefined ? undefined : change(rows);
        };
      if (key === 'stream')
        return async function* (...args: Parameters<Dump['stream']>) {
          for await (const batch of target.stream(...args)) yield change(batch);
        };
      const value: unknown = Reflect.get(target, key, target);
      return typeof value === 'function' ? value.bind(target) : value;
    },
  });
}

it('are told as one where the second begins with what the first has left', async () => {
  await using reference = await Dump.open(right);
  const tested = await asOne(reference);
  const report = await locateDumps(reference, tested, model);
  expect(report.firstFault).toBe(DEPTHWISE);
  const [{ sentence, begins }] = report.kinds as [(typeof report.kinds)[0]];
  expect(begins).toMatchObject({ sequence: 1, position: 0, rightSequences: [0] });
  const [, before, after] =
    /^The sequences of the batch are computed as one in the depthwise convolution in block 3: the first tokens of each read what the sequence before it has left\. NMSE (\S+) as given, (\S+) so\. A batch of one sequence would not show it\./.exec(
      sentence,
    )!;
  expect(Number(before)).toBeGreaterThan(1e-4);
  expect(Number(after)).toBeLessThan(1e-13);
  expect(sentence).toMatch(/ Sequence 1: wrong at position 0 alone\. Sequence 0 is right\.$/);
});

it('are not told where each is right', async () => {
  await using reference = await Dump.open(right);
  const report = await locateDumps(reference, reference, model);
  expect([report.found, report.causes]).toEqual([false, []]);
});
