// What capturing costs on a device: a model of the tiny one's shape times 8 in width, with random weights. A
// prefill without taps, with all values read back, and written to a memory-backed folder; medians, and their
// ratios. The file is made anew each time. On lavapipe it takes minutes.
//
//   npm run bench -- device [--backend vulkan] [--tokens 64] [--repeats 5] [--strict-f32]
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { capture } from '../../dist/capture/capture.js';
import { openModel } from '../../dist/models/runtime/model.js';
import { syntheticConfig, writeSyntheticModel } from './synthetic-model.mjs';

const { values: options } = parseArgs({
  options: {
    backend: { type: 'string', default: 'vulkan' },
    tokens: { type: 'string', default: '64' },
    repeats: { type: 'string', default: '5' },
    'strict-f32': { type: 'boolean', default: false },
  },
});
const [tokens, repeats] = [Number(options.tokens), Number(options.repeats)];
const WIDE_TINY = {
  hidden_size: 1024,
  num_attention_heads: 8,
  num_key_value_heads: 2,
  head_dim: 128,
  moe_intermediate_size: 512,
  num_experts: 8,
  router_hidden_size: 256,
};
const scratch = mkdtempSync(join(existsSync('/dev/shm') ? '/dev/shm' : tmpdir(), 'zayascope-bench-'));
const median = (list) => [...list].sort((a, b) => a - b)[list.length >> 1];

try {
  await writeSyntheticModel(scratch, { ...syntheticConfig({ blocks: 8, vocabulary: 259 }), ...WIDE_TINY });
  const model = await openModel(scratch, { backend: options.backend, strictF32: options['strict-f32'] });
  const { device, strictF32, environment } = model.backend;
  console.log(`$ npm run bench -- device ${process.argv.slice(2).join(' ')}`);
  console.log(
    `device   ${device.name} (${device.description}), strict F32 ${strictF32}, ${JSON.stringify(environment)}`,
  );
  console.log(
    `model    8 blocks of width ${WIDE_TINY.hidden_size}, F32, ${tokens} tokens, medians of ${repeats}`,
  );
  const ids = Array.from({ length: tokens }, (_, i) => (i * 7919 + 13) % 259);
  const plain = model.plan({ tokens });
  const tapped = model.plan({ tokens, taps: { wants: () => true } });
  const without = await timed(() => plain.run(ids));
  const readBack = await timed(() => tapped.run(ids, { sink: async () => {} }));
  const written = [];
  for (let i = 0; i < repeats; i++) {
    const { elapsedMs } = await capture(model, [ids], { out: join(scratch, 'dump'), overwrite: true });
    written.push(elapsedMs);
  }
  const show = (name, list) =>
    console.log(
      `${name.padEnd(21)} ${median(list).toFixed(1)} ms, ${(median(list) / median(without)).toFixed(3)}x`,
    );
  show('without taps', without);
  show('all values read back', readBack);
  show('captured', written);
  plain.close();
  tapped.close();
  model.close();
} finally {
  rmSync(scratch, { recursive: true });
}

/** Times of runs in ms, one run to warm up. */
async function timed(work) {
  await work();
  const times = [];
  for (let i = 0; i < repeats; i++) {
    const start = performance.now();
    await work();
    times.push(performance.now() - start);
  }
  return times;
}
