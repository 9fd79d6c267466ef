/**
 * What little of a run there is, is judged and never blamed on the file: runs that ended in a decode step,
 * and runs of which few values were captured.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { formatLocate, type LocateReport } from '../../../src/index.js';
import { runCommand } from '../../cli/run-command.js';
import { editedFolder } from './edited-folder.js';
import {
  type PortName,
  portFolder,
  portModel,
  portReference,
  portScratch,
  TINY_MODEL,
} from './port-folders.js';

const CONFIG = join(TINY_MODEL, 'config.json');

/** The report of a folder some of whose index lines are kept. */
async function located(
  name: PortName,
  as: string,
  keeps: (name: string | undefined, line: number) => boolean,
): Promise<LocateReport> {
  const folder = editedFolder(name, as, { keeps });
  const out = `${folder}-dump`;
  const imported = await runCommand([
    'import',
    folder,
    '--map',
    'llamacpp',
    '--config',
    CONFIG,
    '--out',
    out,
  ]);
  expect(imported).toMatchObject({ code: 0, stderr: '' });
  const args = ['locate', portReference(), out, '--model', await portModel(name), '--threads', '1', '--json'];
  const { stdout, stderr } = await runCommand(args);
  expect(stderr).toBe('');
  return JSON.parse(stdout) as LocateReport;
}

const KNOWN = [
  '.mlp.gate.router_mlp:act1',
  '.mlp.gate.router_mlp:act2',
  '.mlp.gate:expert',
  '.self_attn.qkv_proj.conv_qk_grouped',
  '.self_attn:attn_output',
  '.self_attn:attn_weights',
];

// 456 lines a call: the first call of 20 tokens is whole in all, the run ends in the second or in the fifth.
it.each([600, 2200])('a decode run that ended after line %d has the faults of a whole one', async (lines) => {
  const report = await located('before-f32-decode', `cut-${lines}`, (_, number) => number < lines);
  expect(report.firstFault).toBe('layers.0.self_attn.qkv_proj.conv_qk_grouped');
  expect(report.kinds.map(({ kind }) => kind).sort()).toEqual(KNOWN);
  // In all blocks, though the run ended in one of them: the calls before have them all.
  const judged = report.ops.filter(({ tap }) => tap.endsWith('conv_qk_grouped'));
  expect(judged.map(({ verdict }) => verdict)).toEqual(Array(8).fill('fault'));
  expect(report.notes.join()).toContain('is partial: its producer did not finish');
});

it.each([
  ['after-f32', 'the example of the docs', /^(Qcur-\d+|result_output)$/],
  ['before-f32', 'logits alone', /^result_output$/],
] as const)('%s with %s: the file that ran is not called another', async (name, as, kept) => {
  const report = await located(
    name,
    as.replaceAll(' ', '-'),
    (value) => value === undefined || kept.test(value),
  );
  expect(report.mismatch).toBeNull();
  expect(report.otherFile).toBeNull();
  // All eight blocks lie in the span, though no value of theirs may be held.
  const inside = Number(/\((\d+) ops\)/.exec(formatLocate(report))?.[1]);
  expect(inside).toBeGreaterThan(250);
});

it('sizes that are not the config’s are told as such', async () => {
  const config = JSON.parse(readFileSync(CONFIG, 'utf8'));
  const file = portScratch('config-kv.json');
  writeFileSync(file, JSON.stringify({ ...config, num_key_value_heads: 2 * config.num_key_value_heads }));
  const wrong = await runCommand([
    ...['import', portFolder('before-f32'), '--map', 'llamacpp', '--config', file],
    ...['--out', portScratch('wrong-config-dump')],
  ]);
  expect(wrong.code).toBe(2);
  expect(wrong.stderr).toContain('24 tokens of another size than the config says');
  writeFileSync(file, JSON.stringify({ ...config, vocab_size: 300 }));
  const more = await runCommand([
    ...['import', portFolder('before-f32'), '--map', 'llamacpp', '--config', file],
    ...['--out', portScratch('more-vocabulary-dump')],
  ]);
  expect(more.code).toBe(0);
  expect(more.stdout).toContain("The first 259 of the config's 300 entries are held of lm_head.");
});
