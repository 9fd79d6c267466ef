import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { type RecordingReplay, recordGguf } from '../../src/index.js';
import { hasLibllama } from '../llamacpp/libllama.js';
import { describeWith } from '../system-package.js';
import { hasLavapipe, strict, zayascope } from './lavapipe.js';

const { writeRandomGguf } = (await import('../recording/random-gguf.mjs' as string)) as {
  writeRandomGguf: (path: string, architecture: string) => Promise<void>;
};

const REPLAY = new URL('../../dist/recording/replay/run-replay.js', import.meta.url).href;

describeWith('Vulkan driver (lavapipe)', hasLavapipe() && hasLibllama, 'a recording on Vulkan', () => {
  let folder: string;
  let model: string;
  let recording: string;
  beforeAll(async () => {
    folder = mkdtempSync(join(tmpdir(), 'zayascope-replay-'));
    model = join(folder, 'llama.gguf');
    recording = join(folder, 'recording');
    await writeRandomGguf(model, 'llama');
    await recordGguf({ model, tokens: [3, 10, 17], generate: 1, threads: 1, out: recording });
  }, 60_000);
  afterAll(() => rmSync(folder, { recursive: true, force: true }));

  it('is judged by limits: every node within them, not all the same bits', async () => {
    const { code, stdout } = await zayascope(['replay', recording, '--model', model, ...strict]);
    expect([code, stdout]).toEqual([
      0,
      expect.stringMatching(/^within limits: 100 of 100; \d\d the same bits$/m),
    ]);
  }, 240_000);

  it('names the node that does something else', async () => {
    const file = join(recording, 'graph.json');
    const graph = JSON.parse(readFileSync(file, 'utf8'));
    // Another epsilon: what was recorded is not what the device gives.
    const norm = graph.tensors.find(({ tap }: { tap?: string }) => tap === 'norm-1');
    norm.params = Buffer.from(new Float32Array([1e-2]).buffer).toString('hex');
    writeFileSync(file, JSON.stringify(graph));
    const { code, stdout } = await zayascope(['replay', recording, '--model', model, ...strict, '--json']);
    const { nodes } = JSON.parse(stdout) as RecordingReplay;
    const beyond = nodes.filter(({ onDevice }) => onDevice!.isBeyond);
    expect([code, beyond.map(({ name, step }) => [name, step])]).toEqual([1, [['norm-1', 0]]]);
    expect(beyond[0]!.onDevice!.error).toBeGreaterThan(1e-6);
  }, 240_000);

  it("runs a model with experts in one process: what a node leaves behind is no other node's", async () => {
    const [file, out] = [join(folder, 'qwen3moe.gguf'), join(folder, 'experts')];
    await writeRandomGguf(file, 'qwen3moe');
    await recordGguf({ model: file, tokens: [3, 10, 17], generate: 1, threads: 1, out });
    // Without the command, which goes on in another process where one ends.
    const run = { recording: out, model: file, modes: ['same'], backend: 'lavapipe', strictF32: true };
    const code = `import { runReplay } from ${JSON.stringify(REPLAY)};
const { nodes } = await runReplay(${JSON.stringify(run)}, () => {}, () => {});
process.stdout.write(JSON.stringify(nodes.map(({ problem, onDevice }) => problem ?? onDevice.isBeyond)), () => process.kill(process.pid, 'SIGKILL'));`;
    const { stdout, stderr } = spawnSync(process.execPath, ['--input-type=module', '-e', code], {
      encoding: 'utf8',
    });
    expect(new Set(JSON.parse(stdout || JSON.stringify([stderr])))).toEqual(new Set([false]));
  }, 120_000);
});
