import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { DumpGraph } from '../../src/dump/graph-file.js';
import {
  capture,
  captureNodes,
  captureSession,
  Dump,
  locateRecording,
  openModel,
  replayRecording,
  runNodeRepro,
  writeNodeRepro,
} from '../../src/index.js';
import { runCommand } from '../cli/run-command.js';
import { hasLavapipe, zayascope } from '../gpu/lavapipe.js';
import { pythonPath } from '../reference/python.js';
import { describeWith } from '../system-package.js';
import { python } from './models.js';

const { writeRandomGguf } = (await import('./random-gguf.mjs' as string)) as {
  writeRandomGguf: (path: string, architecture: string) => Promise<void>;
};

const ZAYA = 'dumps/tiny/model';
const TOKENS = [3, 10, 17, 24];
const folder = mkdtempSync(join(tmpdir(), 'zayascope-own-nodes-'));
const at = (name: string): string => join(folder, name);
afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** A tap's values, step by step; undefined where there is no such tap. */
async function bytesOf(dump: Dump, name: string): Promise<Buffer | undefined> {
  if (!dump.taps.some((tap) => tap.name === name)) return undefined;
  const parts: Buffer[] = [];
  for await (const { data } of dump.stream(name))
    parts.push(Buffer.from(data.buffer, data.byteOffset, data.byteLength));
  return Buffer.concat(parts);
}

/** Taps whose values are the same bytes, of two dumps; and the names of the others. */
async function sameTaps(a: Dump, b: Dump): Promise<{ same: number; other: string[] }> {
  const other: string[] = [];
  for (const { name } of b.taps) {
    const [x, y] = await Promise.all([a, b].map((dump) => bytesOf(dump, name)));
    if (x === undefined || !x.equals(y!)) other.push(name);
  }
  return { same: b.taps.length - other.length, other };
}

/** All products of the graph by numpy in double precision, from the values that the recording holds and the
 * weights of the safetensors file; and how many were compared. */
const PRODUCTS = `
import json, sys
import numpy as np, pyarrow as pa
from safetensors import safe_open
folder, model = sys.argv[1:]
graph = json.load(open(folder + '/graph.json'))
taps = {tap['name']: tap for tap in json.load(open(folder + '/manifest.json'))['taps']}
files = {}
def read(name):
    file = taps[name]['file']
    files.setdefault(file, pa.ipc.open_file(folder + '/' + file).read_all())
    column = files[file].column(name).combine_chunks()
    rows = np.array(files[file].column('step')) == 0
    if taps[name]['scope'] == 'token': return np.concatenate([np.array(column[int(k)].as_py()).reshape(-1) for k in np.nonzero(rows)[0]])
    return np.array(column[int(np.nonzero(rows)[0][-1])].as_py()).reshape(-1)
worst, count = 0.0, 0
with safe_open(model + '/model.safetensors', framework='pt') as weights:
    for node in graph['tensors']:
        if node['op'] != 'MUL_MAT' or node['id'] not in graph['graphs'][0]['nodes']: continue
        w, x = [graph['tensors'][k] for k in node['src']]
        if 'weight' not in w or 'tap' not in x: continue
        matrix = weights.get_tensor(w['weight']).double().numpy()
        right = read(x['tap']).astype(np.float64).reshape(-1, x['ne'][0]) @ matrix.T
        own = read(node['tap']).astype(np.float64).reshape(right.shape)
        worst = max(worst, float(((own - right) ** 2).sum() / (right ** 2).sum()))
        count += 1
print(json.dumps({'count': count, 'worst': worst}))
`;

describe('every node of ZAYA', () => {
  let generated: number[];
  beforeAll(async () => {
    using model = await openModel(ZAYA, { threads: 1 });
    const run = await captureNodes(model, [TOKENS], { out: at('session'), generate: 1 });
    generated = run.generated[0]!;
    expect(run).toMatchObject({ isSame: true, graphs: 2, nonFiniteLogits: 0 });
    expect(generated).toHaveLength(1);
    await captureNodes(model, [TOKENS], { out: at('prompts') });
  }, 60_000);

  it('replays bit for bit, a session as prompts', async () => {
    for (const name of ['session', 'prompts']) {
      const { nodes } = await replayRecording({ recording: at(name), model: ZAYA });
      await using dump = await Dump.open(at(name));
      const graph = JSON.parse(readFileSync(join(at(name), 'graph.json'), 'utf8')) as DumpGraph;
      const quiet = new Set(['VIEW', 'RESHAPE', 'PERMUTE', 'TRANSPOSE', 'NONE']);
      expect(nodes).toHaveLength(graph.tensors.filter(({ op }) => !quiet.has(op)).length);
      expect(nodes.filter(({ isSame, problem }) => !isSame || problem !== undefined)).toEqual([]);
      expect(nodes.filter(({ ownError }) => ownError !== 0)).toEqual([]);
      expect(dump.manifest.status).toBe('complete');
    }
    expect(python(pythonPath(), PRODUCTS, [at('prompts'), ZAYA])).toEqual({
      count: expect.toSatisfy((count: number) => count >= 50),
      worst: expect.toSatisfy((error: number) => error > 0 && error < 1e-12),
    });
  }, 60_000);

  it('has the values of all taps under their names', async () => {
    using model = await openModel(ZAYA, { threads: 1 });
    await capture(model, [TOKENS], { out: at('prompts-taps') });
    {
      await using own = await Dump.open(at('prompts'));
      await using taps = await Dump.open(at('prompts-taps'));
      expect(await sameTaps(own, taps)).toEqual({ same: taps.taps.length, other: [] });
      expect(own.taps).toEqual(expect.arrayContaining(taps.taps.map((tap) => ({ ...tap }))));
    }
    using session = model.session({ capacity: TOKENS.length + 1 });
    await using captured = await captureSession(model, session, { out: at('session-taps') });
    await captured.forward(TOKENS);
    for (const token of generated) await captured.forward([token]);
    await captured.finish();
    await using own = await Dump.open(at('session'));
    await using taps = await Dump.open(at('session-taps'));
    // A graph reads whole caches; a dump of taps holds the tokens that can be seen.
    const { other } = await sameTaps(own, taps);
    expect(other.filter((name) => !/:(k_cache|v_cache|attn_weights)$/.test(name))).toEqual([]);
  }, 60_000);

  it('is read by locate, step, repro, inspect, diff and report', async () => {
    const verdict = await locateRecording({ recording: at('session'), model: ZAYA });
    expect([verdict.found, verdict.faults]).toEqual([false, []]);
    const written = await writeNodeRepro({
      recording: at('session'),
      op: 'layers.3.self_attn.o_proj@1',
      model: ZAYA,
      out: at('repro'),
    });
    expect(written).toMatchObject({ op: 'MUL_MAT', step: 1 });
    expect((await runNodeRepro({ folder: at('repro') })).results).toMatchObject([{ isSame: true }]);
    const stepped = await runCommand(['step', at('session'), '--break', 'layers.2.mlp.gate:expert@1']);
    expect([stepped.code, stepped.stdout]).toEqual([0, expect.stringMatching(/^node .*step 1, block 2$/m)]);
    expect((await runCommand(['inspect', at('session')])).stdout).toMatch(/^graph +graph\.json$/m);
    const same = await runCommand(['diff', at('session'), at('session')]);
    expect(same.stdout).toContain('every compared value is identical');
    const page = await runCommand(['report', at('session'), at('session'), '--out', at('report.html')]);
    expect([page.code, page.stderr]).toEqual([0, '']);
  }, 60_000);

  it('names the node whose epsilon was changed, and what a policy rounds', async () => {
    const file = join(at('prompts'), 'graph.json');
    const before = readFileSync(file, 'utf8');
    const graph = JSON.parse(before);
    const norm = graph.tensors.filter(({ op }: { op: string }) => op === 'RMS_NORM')[3];
    norm.params = Buffer.from(new Float32Array([1e-2]).buffer).toString('hex');
    writeFileSync(file, JSON.stringify(graph));
    try {
      const verdict = await locateRecording({ recording: at('prompts'), model: ZAYA });
      const faults = verdict.nodes.filter(({ isFault }) => isFault).map(({ name }) => name);
      expect(faults).toEqual([norm.tap]);
    } finally {
      writeFileSync(file, before);
    }
    using model = await openModel(ZAYA, { threads: 1, policy: 'llamacpp' });
    await captureNodes(model, [TOKENS], { out: at('rounded') });
    const { nodes } = await replayRecording({ recording: at('rounded'), model: ZAYA });
    expect(nodes.filter(({ isSame }) => !isSame)).toEqual([]);
    const rounding = new Set(nodes.filter(({ ownError }) => ownError! > 0).map(({ op }) => op));
    expect(rounding).toContain('IM2COL');
    const verdict = await locateRecording({
      recording: at('rounded'),
      reference: at('prompts'),
      model: ZAYA,
    });
    expect(verdict.nodes.filter(({ problem }) => problem !== undefined)).toEqual([]);
    const first = verdict.nodes.find(({ isFault, op }) => isFault && op !== 'INPUT')!;
    expect([first.op, first.differences]).toEqual(['IM2COL', ['stored in F16 instead of F32']]);
  }, 60_000);
});

it('records Qwen3-MoE from a GGUF file by command, and says what it cannot do', async () => {
  const model = at('qwen3moe.gguf');
  await writeRandomGguf(model, 'qwen3moe');
  writeFileSync(
    at('tokens.json'),
    JSON.stringify([
      [3, 10, 17, 24],
      [5, 6],
    ]),
  );
  const run = ['capture', '--model', model, '--tokens-file', at('tokens.json'), '--threads', '1'];
  const out = at('qwen3moe');
  const { code, stdout } = await runCommand([...run, '--nodes', '--generate', '1', '--out', out]);
  expect([code, stdout]).toEqual([
    0,
    expect.stringMatching(/^logits +the same bits with and without recording$/m),
  ]);
  const replayed = await runCommand(['replay', out, '--model', model]);
  expect([replayed.code, replayed.stdout]).toEqual([
    0,
    expect.stringMatching(/^as recorded: (\d+) of \1 the same bits$/m),
  ]);
  const refused = async (args: readonly string[]) => (await runCommand([...run, ...args])).stderr;
  await using dump = await Dump.open(out);
  expect(dump.manifest.calls?.map(({ kind, rows }) => [kind, rows])).toEqual([
    ['prefill', 4],
    ['decode', 1],
    ['prefill', 2],
    ['decode', 1],
  ]);
  expect(await refused(['--nodes', '--taps', 'x', '--out', at('x')])).toContain('got --taps x');
  expect(await refused(['--generate', '1', '--out', at('x')])).toContain('expected --generate with --nodes');
  expect((await runCommand(['replay', out])).stderr).toContain('--model with the model that ran');
  expect((await runCommand(['replay', out, '--model', ZAYA])).stderr).toContain('UNPAIRED');
}, 60_000);

describeWith('Vulkan driver (lavapipe)', hasLavapipe(), 'nodes of ZAYA on Vulkan', () => {
  it('are judged by limits', async () => {
    using model = await openModel(ZAYA, { threads: 1 });
    const out = at('judged');
    await captureNodes(model, [[3, 10, 17]], { out });
    const { stdout } = await zayascope([
      'replay',
      out,
      '--model',
      ZAYA,
      '--backend',
      'lavapipe',
      '--strict-f32',
      '--json',
    ]);
    const { nodes } = JSON.parse(stdout) as Awaited<ReturnType<typeof replayRecording>>;
    expect(nodes.length).toBeGreaterThan(700);
    expect(nodes.filter(({ problem }) => problem !== undefined)).toEqual([]);
    // Products of strided operands, which the device rounds to F16 unless they are copied first.
    const beyond = nodes.filter(({ onDevice }) => onDevice!.isBeyond);
    expect(beyond.map(({ op }) => op)).toEqual(Array(8).fill('MUL_MAT'));
    expect(beyond.every(({ name }) => name.endsWith('.self_attn/mulMat'))).toBe(true);
  }, 240_000);
});
