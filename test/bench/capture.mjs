// What capturing costs, on synthetic blocks of ZAYA1-8B's width: a 128-token prefill and repeated one-token
// prefills, without taps, with all taps in each tier, to a memory-backed folder and to disk, beside a raw
// write of the same bytes. Ratios are of medians within one run.
//
//   npm run bench -- capture [--blocks 4] [--tokens 128] [--steps 32] [--repeats 5] [--policy f32] [--threads
//   N] [--disk FOLDER]
import { spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, readdirSync, rmSync, statSync } from 'node:fs';
import { open } from 'node:fs/promises';
import { cpus, tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { capture } from '../../dist/capture/capture.js';
import { openModel } from '../../dist/models/runtime/model.js';
import { syntheticConfig, writeSyntheticModel } from './synthetic-model.mjs';

const { values } = parseArgs({
  options: {
    blocks: { type: 'string', default: '4' },
    tokens: { type: 'string', default: '128' },
    steps: { type: 'string', default: '32' },
    repeats: { type: 'string', default: '5' },
    policy: { type: 'string', default: 'f32' },
    threads: { type: 'string' },
    disk: { type: 'string', default: tmpdir() },
    // internal: peak resident memory of one capture in a process of its own
    model: { type: 'string' },
    'peak-runs': { type: 'string' },
  },
});
const [blocks, tokens, steps, repeats] = [values.blocks, values.tokens, values.steps, values.repeats].map(
  Number,
);
const threads = values.threads === undefined ? undefined : Number(values.threads);
const memoryRoot = existsSync('/dev/shm') ? '/dev/shm' : undefined;
const scratch = [];
const folder = (root) => scratch[scratch.push(mkdtempSync(join(root, 'zayascope-bench-'))) - 1];
const sequence = (count) => Array.from({ length: count }, (_, i) => (i * 7919 + 13) % 8192);
const median = (list) => [...list].sort((a, b) => a - b)[list.length >> 1];

if (values['peak-runs'] !== undefined) await peak(values.model, Number(values['peak-runs']));
else await main();

async function peak(folderOfModel, runs) {
  const model = await openModel(folderOfModel, { policy: values.policy, threads });
  const out = join(folder(memoryRoot ?? values.disk), 'dump');
  let highest = 0;
  const sequences = Array.from({ length: runs }, () => sequence(tokens));
  const onProgress = () => {
    highest = Math.max(highest, process.memoryUsage.rss());
  };
  await capture(model, sequences, { out, onProgress });
  model.close();
  console.log(JSON.stringify({ peakBytes: highest, dumpBytes: folderBytes(out) }));
  cleanUp();
}

async function main() {
  try {
    const modelFolder = folder(values.disk);
    await writeSyntheticModel(modelFolder, syntheticConfig({ blocks }));
    const model = await openModel(modelFolder, { policy: values.policy, threads });
    console.log(
      `device ${model.backend.device.description} (${cpus().length} cores seen), ${model.backend.threads} threads, policy ${values.policy}`,
    );
    console.log(
      `model  ${blocks} blocks of ZAYA1-8B's width (hidden 2048, 16 experts), vocabulary 8192, stored BF16; median of ${repeats} repeats`,
    );
    await measure(
      model,
      `prefill of ${tokens} tokens`,
      Array.from({ length: 3 }, () => sequence(tokens)),
    );
    await measure(
      model,
      `${steps} one-token prefills`,
      Array.from({ length: steps }, (_, i) => [i % 8192]),
    );
    model.close();
    memory(modelFolder);
  } finally {
    cleanUp();
  }
}

async function measure(model, title, sequences) {
  const targets = [
    ['memory', memoryRoot],
    ['disk', values.disk],
  ].filter(([, root]) => root !== undefined);
  const modes = [['no taps', () => uncaptured(model, sequences)]];
  let dumpBytes = 0;
  for (const [where, root] of targets)
    for (const tier of ['full', 'stats', 'hash'])
      modes.push([
        `${tier} to ${where}`,
        async () => {
          const out = folder(root);
          const { elapsedMs } = await capture(model, sequences, { out, tier });
          if (tier === 'full') dumpBytes = folderBytes(out);
          rmSync(out, { recursive: true });
          return elapsedMs;
        },
      ]);
  for (const [where, root] of targets) modes.push([`raw write to ${where}`, () => rawWrite(root, dumpBytes)]);

  const times = new Map(modes.map(([name]) => [name, []]));
  for (let repeat = 0; repeat <= repeats; repeat++)
    for (const [name, run] of modes) {
      const elapsed = await run();
      if (repeat > 0) times.get(name).push(elapsed); // the first round warms caches
    }
  const base = median(times.get('no taps'));
  console.log(
    `\n${title}: per run, F32 taps, full dump ${(dumpBytes / sequences.length / 1e6).toFixed(1)} MB a run`,
  );
  for (const [name, list] of times) {
    const ms = median(list) / sequences.length;
    const ratio = median(list) / base;
    const speed = name.startsWith('raw') ? `  ${(dumpBytes / median(list) / 1e6).toFixed(2)} GB/s` : '';
    console.log(
      `  ${name.padEnd(24)} ${ms.toFixed(2).padStart(9)} ms  ${ratio.toFixed(3).padStart(7)}x${speed}`,
    );
  }
}

async function uncaptured(model, sequences) {
  const plan = model.plan({ tokens: sequences[0].length });
  const start = performance.now();
  for (const ids of sequences) await plan.run(ids);
  const elapsed = performance.now() - start;
  plan.close();
  return elapsed;
}

async function rawWrite(root, bytes) {
  const file = join(folder(root), 'raw');
  const chunk = Buffer.alloc(8 << 20, 1);
  const start = performance.now();
  const handle = await open(file, 'w');
  for (let done = 0; done < bytes; done += chunk.length)
    await handle.write(chunk, 0, Math.min(chunk.length, bytes - done));
  await handle.close();
  const elapsed = performance.now() - start;
  rmSync(file);
  return elapsed;
}

function memory(modelFolder) {
  const run = (runs) => {
    const args = [
      fileURLToPath(import.meta.url),
      '--peak-runs',
      `${runs}`,
      '--model',
      modelFolder,
      '--policy',
      values.policy,
      '--tokens',
      `${tokens}`,
    ];
    const child = spawnSync(
      process.execPath,
      threads === undefined ? args : [...args, '--threads', `${threads}`],
      { encoding: 'utf8' },
    );
    if (child.status !== 0) throw new Error(child.stderr);
    return JSON.parse(child.stdout);
  };
  const [small, large] = [run(2), run(20)];
  const mb = (bytes) => `${(bytes / 1e6).toFixed(0)} MB`;
  console.log(
    `\nresident memory, peak during capture: ${mb(small.peakBytes)} for a dump of ${mb(small.dumpBytes)}, ${mb(large.peakBytes)} for ${mb(large.dumpBytes)}`,
  );
  console.log(`  growth ${((large.peakBytes / small.peakBytes - 1) * 100).toFixed(1)} %`);
}

function folderBytes(path) {
  return readdirSync(path).reduce((sum, name) => sum + statSync(join(path, name)).size, 0);
}

function cleanUp() {
  for (const path of scratch.splice(0)) rmSync(path, { recursive: true, force: true });
}
