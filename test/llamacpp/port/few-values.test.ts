/**
 * A port that wrote little more than its residual stream: between two values many ops lie, and several of the
 * port's known choices meet there, of which none explains the error alone.
 */
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import type { LocateReport } from '../../../src/index.js';
import { runCommand } from '../../cli/run-command.js';
import {
  type PortName,
  portFolder,
  portModel,
  portReference,
  portScratch,
  TINY_MODEL,
} from './port-folders.js';

const FEW = /^(residual|final_residual|result|ffn_moe_topk)/;

/** The report of the values of {@link FEW} in a folder; those of one name are multiplied by a factor. */
async function located(name: PortName, scaled?: string, factor = 1): Promise<LocateReport> {
  const folder = portScratch(`few-${name}-${scaled}`);
  mkdirSync(folder);
  const values = readFileSync(join(portFolder(name), 'tensors.bin'));
  const kept: Buffer[] = [];
  let end = 0;
  const lines = readFileSync(join(portFolder(name), 'index.jsonl'), 'utf8')
    .trimEnd()
    .split('\n')
    .flatMap((line) => {
      const entry = JSON.parse(line);
      if (entry.name === undefined) return [line];
      if (!FEW.test(entry.name)) return [];
      const bytes = 4 * entry.ne.reduce((all: number, size: number) => all * size, 1);
      const own = Buffer.from(values.subarray(entry.offset, entry.offset + bytes));
      if (entry.name === scaled)
        for (let at = 0; at < bytes; at += 4) own.writeFloatLE(factor * own.readFloatLE(at), at);
      kept.push(own);
      end += bytes;
      return [JSON.stringify({ ...entry, offset: end - bytes })];
    });
  writeFileSync(join(folder, 'index.jsonl'), `${lines.join('\n')}\n`);
  writeFileSync(join(folder, 'tensors.bin'), Buffer.concat(kept));
  const config = join(TINY_MODEL, 'config.json');
  const out = `${folder}-dump`;
  await runCommand(['import', folder, '--map', 'llamacpp', '--config', config, '--out', out]);
  const args = ['locate', portReference(), out, '--model', await portModel(name), '--threads', '1', '--json'];
  return JSON.parse((await runCommand(args)).stdout);
}

const sentences = ({ kinds }: LocateReport) => new Map(kinds.map(({ kind, sentence }) => [kind, sentence]));
const GELUS =
  /the tanh approximation stands in for the exact form in the router's first GELU; the tanh approximation stands in for the exact form in the router's second GELU/;
const TOGETHER = /^Choices meet in \d+ ops between which the dumps hold no value, all of policy llamacpp: /;

it('is explained by choices that meet', async () => {
  const found = sentences(await located('before-f32'));
  const attention = found.get('.post_attention_residual_scale')!;
  expect(attention).toMatch(TOGETHER);
  expect(attention).toMatch(
    /im2col in F16 rounds the inputs of the grouped convolution; keys and queries are/,
  );
  expect(attention).toMatch(/Recomputed with them, its error falls from 7\.9e-8 to \d\.\de-1[45]\./);
  expect(attention).toMatch(
    /What is left in block 1 \(1\.5e-9\) is as much as roundings that fall to the other side of a tie leave\.$/,
  );
  expect(found.get('')).toMatch(TOGETHER);
  expect(found.get('')).toMatch(GELUS);
});

it('is not explained where an op is wrong besides', async () => {
  // What the port calls residual-3 is the sum after attention in block 1.
  const report = await located('after-f32-cache-f32', 'residual-3', 1.001);
  const attention = report.kinds.find(({ kind }) => kind === '.post_attention_residual_scale')!;
  expect([attention.blocks, attention.largest]).toEqual([[1], expect.closeTo(1e-6, 8)]);
  expect(attention.sentence).not.toContain('meet');
});
