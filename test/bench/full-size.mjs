// ZAYA1-8B at full size with random weights: load, prefill, decode, capture, resident memory, and the memory
// bandwidth that decode is held against. Makes the file unless it exists.
//
//   npm run bench -- full-size [--type q4_k_m|q8_0|bf16|...] [--size 8b] [--file F.gguf] [--keep] [--prompt
//   128] [--steps 32] [--threads N] [--backend cpu]
//
// Bandwidth: an F32 matrix of 1 GiB times a vector, on the same threads through the same library; its bytes
// over the best of 20 times, half before decoding and half after. Prefill: best of 2. Decode: median time of
// a step; it reads all weights but the experts that are not chosen.
import { existsSync, mkdtempSync, readdirSync, rmSync, statSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { cpus, tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { captureSession } from '../../dist/capture/capture-session.js';
import { compileGraphs } from '../../dist/graph/compile.js';
import { Graph } from '../../dist/graph/graph.js';
import { mulMat } from '../../dist/graph/ops-products.js';
import { resolvePolicy } from '../../dist/graph/policy.js';
import { ResidentMemory } from '../../dist/graph/resident.js';
import { allocateCache } from '../../dist/models/runtime/cache.js';
import { openModel } from '../../dist/models/runtime/model.js';
import { planModel } from '../../dist/models/runtime/plan.js';
import { checkWeights } from '../../dist/models/runtime/weights.js';
import { synthZaya } from '../../dist/models/zaya/synth.js';

const { values: options } = parseArgs({
  options: {
    type: { type: 'string', default: 'q4_k_m' },
    size: { type: 'string', default: '8b' },
    file: { type: 'string' },
    keep: { type: 'boolean', default: false },
    prompt: { type: 'string', default: '128' },
    steps: { type: 'string', default: '32' },
    threads: { type: 'string' },
    backend: { type: 'string', default: 'cpu' },
  },
});
const promptLength = Number(options.prompt);
const steps = Number(options.steps);
const scratch = mkdtempSync(join(tmpdir(), 'zayascope-bench-'));
const memoryRoot = existsSync('/dev/shm') ? '/dev/shm' : scratch;
const file = options.file ?? join(scratch, `${options.size}-${options.type}.gguf`);
const ALL_BUT_CACHES = [
  '{embed_tokens,input_affine,norm,lm_head}',
  'layers.*,layers.*.{input,post_attention}_layernorm,layers.*.*_residual_scale**,layers.*.mlp.**',
  'layers.*.self_attn.**,layers.*.self_attn:{query_rope,key_rope,attn_weights,attn_output}',
].join(',');
const median = (list) => [...list].sort((a, b) => a - b)[list.length >> 1];
const gigabytes = (bytes) => `${(bytes / 1e9).toFixed(2)} GB`;
const line = (name, ...rest) => console.log(name.padEnd(22), ...rest);

try {
  console.log(`$ npm run bench -- full-size ${process.argv.slice(2).join(' ')}`);
  if (!existsSync(file)) {
    const start = performance.now();
    const made = await synthZaya({ size: options.size, type: options.type, out: file });
    line(
      'synth',
      `${seconds(start)} s, ${gigabytes(made.sizeBytes)}, ${made.parameters.toLocaleString('en-US')} parameters`,
    );
  }
  await measure();
} finally {
  if (options.keep && options.file === undefined) console.log(`kept ${file}`);
  else rmSync(scratch, { recursive: true });
}

async function measure() {
  const { size } = statSync(file);
  const start = performance.now();
  const model = await openModel(file, {
    policy: 'bf16-weights',
    backend: options.backend,
    ...(options.threads === undefined ? {} : { threads: Number(options.threads) }),
  });
  const { weights, backend, config } = model;
  line('device', `${backend.device.description}, ${cpus().length} cores seen, ${backend.threads} threads`);
  line('model', `${gigabytes(size)}, policy ${model.policy.name} (weights as stored)`);
  line(
    'load',
    `${seconds(start)} s; ${gigabytes(weights.mappedBytes)} mapped, ${gigabytes(weights.allocatedBytes)} allocated`,
  );
  await showMemory('after loading');

  const tokens = Array.from({ length: promptLength }, (_, i) => (i * 7919 + 13) % config.vocab_size);
  const session = model.session({ capacity: 512 });
  const prefill = await timedPrefill(session, () => session.forward(tokens));
  line(
    `prefill ${promptLength}`,
    `${(prefill / 1e3).toFixed(2)} s, ${((promptLength / prefill) * 1e3).toFixed(1)} tokens/s`,
  );
  await showMemory('after prefill');

  const before = await measureBandwidth(backend);
  const decode = await timedSteps(session, steps);
  const bandwidth = Math.max(before, await measureBandwidth(backend));
  const stepBytes = bytesPerStep(weights);
  const share = (ms) => {
    const rate = stepBytes / ms / 1e6;
    return `${rate.toFixed(2)} GB/s, ${((100 * rate) / bandwidth).toFixed(0)} % of the bandwidth`;
  };
  const [typical, best] = [median(decode), Math.min(...decode)];
  line(
    'decode',
    `${typical.toFixed(1)} ms a step, ${(1e3 / typical).toFixed(2)} tokens/s (best ${best.toFixed(1)} ms)`,
  );
  line('memory bandwidth', `${bandwidth.toFixed(2)} GB/s`);
  line('decode reads', `${gigabytes(stepBytes)} of weights a step: ${share(typical)} (best ${share(best)})`);
  line('nodes a decode step', `${decodeNodes(model)} that compute`);
  await showMemory('after decoding');

  await session.truncate(0);
  await capturing(model, session, tokens, decode);
  await showMemory('after capturing');
  session.close();
  model.close();
  if (options.backend === 'cpu') await repacking(tokens, prefill, typical);
}

/**
 * The same with weights in ggml's repacked layouts. Their copies must fit in memory beside the file's cached
 * pages.
 */
async function repacking(tokens, prefill, decode) {
  const start = performance.now();
  const model = await openModel(file, {
    policy: 'bf16-weights',
    repack: true,
    ...(options.threads === undefined ? {} : { threads: Number(options.threads) }),
  });
  const { repackedBytes, mappedBytes } = model.weights;
  line(
    'load repacked',
    `${seconds(start)} s; ${gigabytes(repackedBytes)} repacked, ${gigabytes(mappedBytes)} mapped`,
  );
  if (repackedBytes > 0) {
    const session = model.session({ capacity: 512 });
    const elapsed = await timedPrefill(session, () => session.forward(tokens));
    line(
      `prefill ${tokens.length} repacked`,
      `${(elapsed / 1e3).toFixed(2)} s, ${((tokens.length / elapsed) * 1e3).toFixed(1)} tokens/s, ${(elapsed / prefill).toFixed(2)} x plain`,
    );
    const steps = median(await timedSteps(session, 16));
    line('decode repacked', `${steps.toFixed(1)} ms a step, ${(steps / decode).toFixed(2)} x plain`);
    await showMemory('repacked');
    session.close();
  }
  model.close();
}

/** Best of 3 runs from the start, in ms; the first, which compiles, does not count. */
async function timedPrefill(session, run) {
  const times = [];
  for (let repeat = 0; repeat < 3; repeat++) {
    await session.truncate(0);
    const start = performance.now();
    await run();
    if (repeat > 0) times.push(performance.now() - start);
  }
  return Math.min(...times);
}

async function timedSteps(session, count) {
  const times = [];
  for (let step = 0; step < count + 2; step++) {
    const start = performance.now();
    await session.forward([(step * 104_729 + 5) % 1000]);
    if (step >= 2) times.push(performance.now() - start); // the first ones compile
  }
  return times;
}

/**
 * All taps but the caches, which grow with the position, to a memory-backed folder: ratios to the same work
 * without taps (a tapped head computes the logits of all tokens).
 */
async function capturing(model, session, tokens, decode) {
  const out = mkdtempSync(join(memoryRoot, 'zayascope-bench-'));
  try {
    const plain = await timedPrefill(session, () => session.forwardAll(tokens));
    line('prefill, all logits', `${(plain / 1e3).toFixed(2)} s`);
    const captured = await captureSession(model, session, { out, overwrite: true, taps: ALL_BUT_CACHES });
    const elapsed = await timedPrefill(session, () => captured.forward(tokens));
    line('captured prefill', `${(elapsed / 1e3).toFixed(2)} s, ${(elapsed / plain).toFixed(2)} x uncaptured`);
    const times = await timedSteps(captured, 8);
    line(
      'captured decode',
      `${median(times).toFixed(1)} ms a step, ${(median(times) / median(decode)).toFixed(2)} x uncaptured`,
    );
    await captured.finish();
    const bytes = readdirSync(out).reduce((sum, name) => sum + statSync(join(out, name)).size, 0);
    line('dump', `${gigabytes(bytes)} of ${3 * tokens.length + 10} tokens`);
  } finally {
    rmSync(out, { recursive: true });
  }
}

/**
 * Bytes of weights that one token needs: of stacked experts one, of the rest everything; an embedding that is
 * not the head too costs one row.
 */
function bytesPerStep({ source }) {
  const { tensors, lmHead } = checkWeights(source.checkpoint, source.config);
  let bytes = 0;
  for (const { name, role, info, shape } of tensors) {
    if (role === 'embedding' && info !== lmHead) bytes += info.sizeBytes / shape[0];
    else if (name.includes('.mlp.experts.')) bytes += info.sizeBytes / shape[0];
    else bytes += info.sizeBytes;
  }
  return bytes;
}

function decodeNodes({ weights, backend, policy }) {
  const cache = allocateCache(weights, backend, resolvePolicy(policy), 1, 256);
  const plan = planModel(weights, backend, policy, {
    tokens: 1,
    logits: 'last',
    cached: { cache, span: 256 },
  });
  const nodes = plan.computeNodes;
  plan.close();
  cache.close();
  return nodes;
}

async function measureBandwidth(backend) {
  const [rows, columns] = [65_536, 4096];
  const memory = new ResidentMemory(backend);
  const [matrix, vector] = memory.allocate([
    { name: 'matrix', dtype: 'F32', shape: [rows, columns] },
    { name: 'vector', dtype: 'F32', shape: [1, columns] },
  ]);
  for (const { context, handle } of [matrix, vector]) context.fill(handle, 0);
  const graph = new Graph('bandwidth');
  graph.output('product', mulMat(graph.resident(matrix), graph.resident(vector)));
  const compiled = compileGraphs(backend, [graph]);
  const times = [];
  for (let repeat = 0; repeat < 11; repeat++) {
    const { elapsedMs } = await backend.native.compute([compiled.graphs[0].native]);
    if (repeat > 0) times.push(elapsedMs);
  }
  compiled.close();
  memory.close();
  return (4 * rows * columns) / Math.min(...times) / 1e6;
}

async function showMemory(when) {
  const status = await readFile('/proc/self/status', 'utf8').catch(() => '');
  const value = (key) => Number(new RegExp(`^${key}:\\s+(\\d+) kB`, 'm').exec(status)?.[1] ?? 0) * 1024;
  line(
    'resident memory',
    `${gigabytes(process.memoryUsage.rss())} ${when}, ${gigabytes(value('RssAnon'))} of it not mapped files`,
  );
}

function seconds(start) {
  return ((performance.now() - start) / 1e3).toFixed(2);
}
