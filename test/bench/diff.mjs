// Throughput of a diff, both sides' bytes counted: the inner loops alone over F32 pairs, in SIMD and in
// TypeScript, then whole dumps from a memory-backed folder. Run after `npm run build`: node
// test/bench/diff.mjs
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { cpus, tmpdir } from 'node:os';
import { join } from 'node:path';
import { diffDumps } from '../../dist/diff/diff.js';
import { MetricSums } from '../../dist/diff/metrics.js';
import { UlpSums } from '../../dist/diff/ulp.js';
import { Dump } from '../../dist/dump/reader.js';
import { DumpWriter } from '../../dist/dump/writer.js';
import { simd } from '../../dist/simd.js';

const LENGTH = 2 ** 20;
const REPEATS = 100;

function benchLoops() {
  console.log(`inner loops: dtype F32, shape [${LENGTH}], ${REPEATS} repeats, best`);
  const a = Float32Array.from({ length: LENGTH }, (_, k) => Math.sin(k) * (1 + (k % 7)));
  const cases = {
    'close values': a.map((value, k) => value * (1 + 1e-6 * Math.cos(k))),
    'equal values': a.slice(),
  };
  for (const [name, b] of Object.entries(cases)) {
    // Every ULP loop gets a fresh object per repeat: it counts the first 2^16 elements all, then every eighth
    // range.
    const loopsOf = {
      sums: (loops) => new MetricSums({}, loops),
      'ULP in F32': (loops) => new UlpSums('F32', loops),
      'ULP in BF16': (loops) => new UlpSums('BF16', loops),
      'ULP in F16': (loops) => new UlpSums('F16', loops),
    };
    for (const [loop, create] of Object.entries(loopsOf)) {
      const best = [Number.POSITIVE_INFINITY, Number.POSITIVE_INFINITY];
      for (let repeat = 0; repeat < REPEATS; repeat++)
        for (const [kind, loops] of [simd(), null].entries()) {
          const sums = create(loops);
          const start = performance.now();
          sums.add(a, b);
          best[kind] = Math.min(best[kind], (performance.now() - start) / 1e3);
        }
      const [fast, plain] = best.map((seconds) => (8 * LENGTH) / 1e9 / seconds);
      console.log(
        `  ${name}  ${loop.padEnd(12)} ${fast.toFixed(2)} GB/s, in TypeScript ${plain.toFixed(2)} GB/s: ${(fast / plain).toFixed(2)}x`,
      );
    }
  }
}

const BLOCKS = 10;
const COLUMNS = 50;
const WIDTH = 2048;

async function writeDump(dir, dtype, rows, steps, error) {
  const taps = Array.from({ length: BLOCKS * COLUMNS }, (_, k) => {
    const block = Math.floor(k / COLUMNS);
    return {
      name: `layers.${block}.tap${k}`,
      block,
      dtype,
      scope: 'token',
      axes: ['T', 'H'],
      shape: [WIDTH],
    };
  });
  const writer = await DumpWriter.create(dir, {
    tier: 'full',
    producer: { name: 'bench', version: '1' },
    model: { type: 'zaya', name: 'bench', config: {}, configSha256: '', weightsSha256: '', dtype: 'F32' },
    policy: { name: 'f32' },
    backend: { name: 'cpu' },
    sequences: [],
    selection: { taps: '**', positions: 'all' },
    taps,
  });
  const data = Float32Array.from({ length: rows * WIDTH }, (_, k) => Math.sin(k) * (1 + error * Math.cos(k)));
  const bits = new Uint32Array(data.buffer);
  const stored = dtype === 'F32' ? data : Uint16Array.from(bits, (word) => word >>> 16);
  const value = { bytes: new Uint8Array(stored.buffer), shape: [rows, WIDTH] };
  for (let step = 0; step < steps; step++)
    for (let block = 0; block < BLOCKS; block++) {
      const index = {
        sequence: new Int32Array(rows),
        position: Int32Array.from({ length: rows }, (_, row) => step * rows + row),
        tokenId: new Int32Array(rows),
        step: new Int32Array(rows).fill(step),
      };
      const own = taps.filter((tap) => tap.block === block);
      await writer.append(block, index, new Map(own.map((tap) => [tap.name, value])));
    }
  await writer.finish();
}

async function benchDumps() {
  const dir = mkdtempSync(join(existsSync('/dev/shm') ? '/dev/shm' : tmpdir(), 'zayascope-bench-'));
  console.log(`dumps: ${BLOCKS} files of ${COLUMNS} columns of [rows, ${WIDTH}]; 3 repeats, best`);
  try {
    for (const [dtype, rows, steps] of [
      ['F32', 128, 1],
      ['BF16', 128, 1],
      ['F32', 1, 50],
    ]) {
      const [a, b] = ['a', 'b'].map((name) => join(dir, `${name}-${dtype}-${rows}`));
      await writeDump(a, dtype, rows, steps, 0);
      await writeDump(b, dtype, rows, steps, dtype === 'F32' ? 1e-6 : 1e-2);
      const reference = await Dump.open(a);
      const tested = await Dump.open(b);
      const gigabytes = (2 * (dtype === 'F32' ? 4 : 2) * BLOCKS * COLUMNS * WIDTH * rows * steps) / 1e9;
      let wall = Number.POSITIVE_INFINITY;
      let processor = Number.POSITIVE_INFINITY;
      for (let repeat = 0; repeat < 3; repeat++) {
        const start = performance.now();
        const used = process.cpuUsage();
        await diffDumps(reference, tested);
        wall = Math.min(wall, (performance.now() - start) / 1e3);
        const { user, system } = process.cpuUsage(used);
        processor = Math.min(processor, (user + system) / 1e6);
      }
      await reference.close();
      await tested.close();
      const speed = (seconds) => `${(gigabytes / seconds).toFixed(2)} GB/s`;
      console.log(
        `  ${dtype}, ${rows} rows x ${steps} steps  ${speed(wall)} of wall time, ${speed(processor)} of processor time, reading included`,
      );
    }
  } finally {
    rmSync(dir, { recursive: true });
  }
}

console.log(`device: ${cpus()[0].model}, ${cpus().length} cores, Node ${process.version}`);
benchLoops();
await benchDumps();
