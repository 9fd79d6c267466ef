import { readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import {
  Dump,
  locateRecording,
  openRecordingStepper,
  recordGguf,
  replayRecording,
  runNodeRepro,
  writeNodeRepro,
} from '../../src/index.js';
import { runCommand } from '../cli/run-command.js';
import { hasLibllama } from '../llamacpp/libllama.js';
import { pythonPath } from '../reference/python.js';
import { describeWith } from '../system-package.js';
import { modelMaker, PROMPT, python } from './models.js';

/** The products of a folder by numpy, from what it holds alone; a weight in Q8_0 decoded by gguf-py. */
const PRODUCT = `
import json, sys
import numpy as np, pyarrow as pa
from gguf import GGMLQuantizationType, dequantize
folder, out, weight, source = sys.argv[1:]
manifest = json.load(open(folder + '/manifest.json'))
taps = {tap['name']: tap for tap in manifest['taps']}
def read(name):
    column = pa.ipc.open_file(folder + '/' + taps[name]['file']).read_all().column(name).combine_chunks()
    return np.array(column[0].as_py())
graph = json.load(open(folder + '/graph.json'))
sizes = {t.get('tap'): t['ne'] for t in graph['tensors']}
w = dequantize(read(weight).astype(np.uint8).reshape(sizes[weight][1], -1), GGMLQuantizationType.Q8_0).astype(np.float64)
x = np.array(read(source), dtype=np.float64).reshape(-1, sizes[source][0])
y = np.array(read(out), dtype=np.float64).reshape(-1, sizes[out][0])
right = x @ w.T
print(json.dumps(float(((y - right) ** 2).sum() / (right ** 2).sum())))
`;

/** Of different ways to read: indices, views of caches, rows written, experts. */
const OPS = new Set(['GET_ROWS', 'SET_ROWS', 'MUL_MAT_ID', 'SOFT_MAX', 'ROPE', 'ARGSORT']);

describeWith('a C++ compiler or libllama', hasLibllama, 'nodes of a recording', () => {
  let folder: string;
  let model: string;
  let make: Awaited<ReturnType<typeof modelMaker>>['make'];
  let recording: string;
  const at = (name: string): string => join(folder, name);
  beforeAll(async () => {
    const maker = await modelMaker();
    folder = maker.folder;
    make = maker.make;
    model = make('qwen3moe', 'Q8_0');
    recording = at('run');
    await recordGguf({ model, tokens: PROMPT.slice(0, 6), generate: 1, threads: 1, out: recording });
  }, 60_000);
  afterAll(() => rmSync(folder, { recursive: true, force: true }));

  it('are of the committed model where it is made again', () => {
    expect(readFileSync(make('lfm2', undefined, 64)).equals(readFileSync('dumps/tiny/lfm2.gguf'))).toBe(true);
  });

  describe('stepping', () => {
    it('goes through all nodes in the order in which they ran, and back', async () => {
      await using stepper = await openRecordingStepper(recording);
      const { nodes } = await replayRecording({ recording, model, modes: ['same'] });
      expect(stepper.names).toHaveLength(nodes.length);
      expect(stepper.current).toBeUndefined();
      const first = (await stepper.step())!;
      expect(first).toMatchObject({ op: 'GET_ROWS', step: 0, block: null, index: 0 });
      expect((await stepper.step('block'))!.block).toBe(0);
      expect(stepper.current).toMatchObject({ tap: 'l_out-0', step: 0 });
      expect((await stepper.step('graph'))!.name).toBe('result_output');
      const later = (await stepper.step())!;
      expect([later.step, later.name]).toEqual([1, `${first.name}@1`]);
      expect((await stepper.back())!.name).toBe('result_output');
      expect((await stepper.goTo(`${first.name}@1`)).id).toBe(later.id);
      expect((await stepper.goTo(first.id)).name).toBe(first.name);
      await expect(stepper.goTo('nothing')).rejects.toThrow('expected a node that is stepped through');
    });

    it('shows what a node reads and what reads it, through views and caches', async () => {
      await using stepper = await openRecordingStepper(recording);
      const keys = await stepper.value('kq-0@1');
      expect(keys.sources[0]).toMatchObject({
        name: 'cache_k_l0',
        kind: 'state',
        type: 'F16',
        isView: true,
        writers: ['cache_k_l0 (view)', 'cache_k_l0 (view)@1'],
      });
      const norm = await stepper.value('attn_norm-0');
      expect(norm.sources).toMatchObject([
        { name: 'norm-0', kind: 'node', writers: ['norm-0'] },
        { name: 'blk.0.attn_norm.weight', kind: 'weight', writers: [] },
      ]);
      expect(norm.users).toEqual(['Qcur-0', 'Vcur-0', 'Kcur-0']);
      expect((await stepper.value('norm-0')).parameters).toEqual([
        expect.stringMatching(/^epsilon 0\.0000?1$/),
      ]);
      await using dump = await Dump.open(recording);
      const { data } = await dump.read('attn_norm-0', { step: 0 });
      expect(norm.data).toEqual(data);
      expect(norm.stats.absmax).toBe(Math.max(...(data as Float32Array).map(Math.abs)));
    });

    it('stops at names, at views of a value, at statistics, and at the end', async () => {
      await using stepper = await openRecordingStepper(recording);
      const remove = stepper.breakpoint('ffn_moe_topk-*');
      expect((await stepper.continue()).value.tap).toBe('ffn_moe_argsort-0');
      expect((await stepper.continue()).value.tap).toBe('ffn_moe_argsort-1');
      remove();
      stepper.breakpoint((name, { absmax }) => name.startsWith('kq_soft_max') && absmax > 0);
      expect(await stepper.continue()).toMatchObject({
        reason: 'predicate',
        value: { tap: 'kq_soft_max-2' },
      });
      stepper.breakpoint('nan');
      await stepper.goTo(stepper.names.at(-1)!);
      expect((await stepper.continue()).reason).toBe('end');
      expect(() => stepper.breakpoint('nothing-*')).toThrow('expected a pattern that matches a value');
      await stepper.close();
      await expect(stepper.step()).rejects.toThrow('expected an open stepper');
    });

    it('is a command', async () => {
      const shown = await runCommand(['step', recording, '--break', 'kq-1']);
      expect([shown.code, shown.stderr]).toEqual([0, '']);
      expect(shown.stdout).toMatch(/^value +kq-1 \(\d+ of \d+\)$/m);
      expect(shown.stdout).toMatch(/^node +\d+: MUL_MAT, step 0, block 1$/m);
      expect(shown.stdout).toMatch(
        /^reads +state cache_k_l1: .*, F16, a view, written by cache_k_l1 \(view\)$/m,
      );
      expect(shown.stdout).toMatch(/^read by +kq_soft_max-1$/m);
      const json = JSON.parse((await runCommand(['step', recording, '--break', 'kq-1@1', '--json'])).stdout);
      expect(json).toMatchObject({ reason: 'kq-1@1', step: 1, op: 'MUL_MAT', block: 1 });
      expect((await runCommand(['step', recording, '--until', 'nan'])).code).toBe(1);
      const refused = await runCommand(['step', recording, '--model', model]);
      expect(refused.stderr).toContain('expected options of recordings');
    });
  });

  describe('repro', () => {
    it('of ops gives the recorded bits without model and recording', async () => {
      await using stepper = await openRecordingStepper(recording);
      const seen = new Map<string, string>();
      for (const [k, name] of stepper.names.entries()) {
        const { op } = await stepper.value(name);
        // The second step reads caches that the first wrote.
        if (k >= stepper.names.length / 2 && OPS.has(op) && !seen.has(op)) seen.set(op, name);
      }
      expect(seen.size).toBe(OPS.size);
      for (const [op, name] of seen) {
        const out = at(`repro-${op}`);
        const written = await writeNodeRepro({ recording, op: name, model, out });
        expect(written).toMatchObject({ op, step: 1 });
        const { results } = await runNodeRepro({ folder: out, backends: ['cpu'] });
        expect(results, name).toMatchObject([{ op, isSame: true, nmse: 0, nonFinite: 0 }]);
      }
    }, 60_000);

    it('holds what numpy needs to compute it', async () => {
      const out = at('product');
      await writeNodeRepro({ recording, op: 'Qcur-2', model, out });
      const error = python<number>(pythonPath(), PRODUCT, [
        out,
        'Qcur-2',
        'blk.2.attn_q.weight',
        'attn_norm-2',
      ]);
      // Activations are rounded to blocks of 8 bits, which numpy does not do.
      const { results } = await runNodeRepro({ folder: out, backends: ['cpu'] });
      expect(error).toBeGreaterThan(0);
      expect(error / results[0]!.ownError!).toBeCloseTo(1, 4);
      const verdict = await locateRecording({ recording: out });
      expect(verdict).toMatchObject({ found: false, nodes: [{ op: 'MUL_MAT', widened: ['Q8_0'] }] });
    }, 60_000);

    it('says what is wrong', async () => {
      const wrong = (options: Partial<Parameters<typeof writeNodeRepro>[0]>) =>
        writeNodeRepro({ recording, op: 'Qcur-2', model, out: at('wrong'), ...options });
      await expect(wrong({ op: 'nothing' })).rejects.toThrow(/expected a value of a node .* got nothing/);
      await expect(wrong({ op: '999999' })).rejects.toThrow('got 999999');
      await expect(writeNodeRepro({ recording, op: 'Qcur-2', out: at('wrong') })).rejects.toThrow(
        /expected --model with the GGUF file that ran/,
      );
      await expect(wrong({ out: recording })).rejects.toMatchObject({ code: 'IO' });
      const refused = await runCommand([
        'repro',
        recording,
        '--op',
        'Qcur-2',
        '--policy',
        'llamacpp',
        '--out',
        at('x'),
      ]);
      expect(refused.stderr).toContain('expected options of recordings');
    });
  });
});
