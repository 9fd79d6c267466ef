// Throughput of the diff's inner loops over F32 pairs; both sides counted.
// Run after `npm run build`: node test/bench/diff.mjs
import { cpus } from 'node:os';
import { MetricSums } from '../../dist/diff/metrics.js';
import { UlpSums } from '../../dist/diff/ulp.js';

const LENGTH = 2 ** 20;
const REPEATS = 100;
const a = Float32Array.from({ length: LENGTH }, (_, k) => Math.sin(k) * (1 + (k % 7)));
const cases = {
  'close values': a.map((value, k) => value * (1 + 1e-6 * Math.cos(k))),
  'equal values': a.slice(),
};
console.log(`device: ${cpus()[0].model}, one core, Node ${process.version}`);
console.log(`dtype F32, shape [${LENGTH}], ${REPEATS} repeats, best`);
for (const [name, b] of Object.entries(cases)) {
  // The ULP loops count the first 2^20 elements all, then every eighth range: the figures are of the sampled part.
  const loops = {
    sums: () => new MetricSums(),
    'ULP in F32': () => new UlpSums('F32'),
    'ULP in BF16': () => new UlpSums('BF16'),
    'ULP in F16': () => new UlpSums('F16'),
  };
  for (const [loop, create] of Object.entries(loops)) {
    const sums = create();
    let best = Number.POSITIVE_INFINITY;
    for (let repeat = 0; repeat < REPEATS; repeat++) {
      const start = performance.now();
      sums.add(a, b);
      best = Math.min(best, (performance.now() - start) / 1e3);
    }
    console.log(`${name}  ${loop.padEnd(12)} ${((8 * LENGTH) / 1e9 / best).toFixed(2)} GB/s`);
  }
}
