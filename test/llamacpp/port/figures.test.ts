/** Figures that several commands give of one run: they agree, and count all. */
import { expect, it } from 'vitest';
import { runCommand } from '../../cli/run-command.js';
import { portDump, portModel, portNoise, portReference, portScratch } from './port-folders.js';

const EXPERT = 'layers.1.mlp.gate:expert';

it('margins of flips are the same in diff and locate', async () => {
  const [reference, tested] = [portReference(), await portDump('before-f32')];
  const flipsOf = async (...args: string[]) => {
    const { routing } = JSON.parse((await runCommand([...args, reference, tested, '--json'])).stdout);
    return routing.flips.map(({ block, position, margin }: Record<string, number>) => [
      block,
      position,
      margin,
    ]);
  };
  const flips = await flipsOf('diff');
  expect(flips).toHaveLength(9);
  expect(flips).toEqual(await flipsOf('locate'));
});

it('values of the whole run are counted whole, with a noise floor too', async () => {
  const [reference, tested] = [portReference(), await portDump('before-f32')];
  const args = ['locate', reference, tested];
  for (const noise of [[], ['--noise', portNoise()]]) {
    const { stdout } = await runCommand([...args, ...noise]);
    const { ops } = JSON.parse((await runCommand([...args, ...noise, '--json'])).stdout);
    const line = /^whole run, .*$/m.exec(stdout)![0];
    const counts = /: (\d+) values identical, (\d+) within noise, (\d+) above noise, (\d+) broken$/.exec(
      line,
    )!;
    const sum = counts.slice(1).reduce((all, count) => all + Number(count), 0);
    expect([sum, ops.length]).toEqual([324, 324]);
    // Eight choices, and eight rows in front of a call.
    expect(line.includes('(16 of 324 values by fixed thresholds: ')).toBe(noise.length > 0);
  }
});

it('a repro counts choices that differ, and gives them no NMSE', async () => {
  const out = portScratch('repro-expert');
  const args = ['repro', await portDump('before-f32'), '--model', await portModel('before-f32')];
  await runCommand([...args, '--op', EXPERT, '--out', out]);
  const run = ['repro', 'run', out, '--backends', 'cpu'];
  const { code, stdout } = await runCommand(run);
  expect(code).toBe(0);
  // Block 1 has three flips, by diff.
  expect(stdout).toContain('the dump differs from it in 3 of 24');
  expect(stdout).toMatch(/device +variant +other than dump .* other than exact/);
  expect(stdout).toMatch(/^CPU +policy f32 +3 of 24 .* 0 of 24 *$/m);
  expect(stdout).not.toContain('NMSE');
  // Ids are equal or not, whatever the limit.
  expect((await runCommand([...run, '--fail-above', '1'])).code).toBe(1);
});
