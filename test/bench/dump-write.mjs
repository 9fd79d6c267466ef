// Cost of appending record batches to a dump, beside a raw vectored write of the same bytes.
// Run after `npm run build`: node test/bench/dump-write.mjs [folder on disk]
import { existsSync, mkdtempSync, rmSync, statfsSync } from 'node:fs';
import { open } from 'node:fs/promises';
import { cpus, tmpdir } from 'node:os';
import { join } from 'node:path';
import { DumpWriter } from '../../dist/dump/writer.js';

const COLUMNS = 50;
const BLOCKS = 40;
const WIDTH = 1024;
const description = {
  tier: 'full',
  producer: { name: 'bench', version: '1' },
  model: { type: 'zaya', name: 'bench', config: {}, configSha256: '', weightsSha256: '', dtype: 'BF16' },
  policy: { name: 'f32' },
  backend: { name: 'cpu' },
  sequences: [],
  selection: { taps: '**', positions: 'all' },
};
const taps = Array.from({ length: BLOCKS }, (_, block) =>
  Array.from({ length: COLUMNS }, (_, column) => ({
    name: `layers.${block}.tap${column}`,
    block,
    dtype: 'F32',
    scope: 'token',
    axes: ['T', 'H'],
    shape: [WIDTH],
  })),
);

async function viaDump(dir, rows, steps, values) {
  const writer = await DumpWriter.create(dir, { ...description, taps: taps.flat() }, { overwrite: true });
  const maps = taps.map((own) => new Map(own.map((tap, k) => [tap.name, values[k]])));
  const index = (step) => ({
    sequence: new Int32Array(rows),
    position: Int32Array.from({ length: rows }, (_, row) => step * rows + row),
    tokenId: new Int32Array(rows),
    step: new Int32Array(rows).fill(step),
  });
  const measured = await measure(async () => {
    for (let step = 0; step < steps; step++)
      for (let block = 0; block < BLOCKS; block++) await writer.append(block, index(step), maps[block]);
  });
  await writer.finish();
  return measured;
}

async function raw(dir, _rows, steps, values) {
  const files = await Promise.all(taps.map((_, block) => open(join(dir, `raw.${block}`), 'w')));
  const pieces = values.map((value) => value.bytes);
  const bytes = pieces.reduce((sum, piece) => sum + piece.byteLength, 0);
  const measured = await measure(async () => {
    for (let step = 0; step < steps; step++)
      for (const file of files) await file.writev(pieces, step * bytes);
  });
  for (const file of files) await file.close();
  return measured;
}

// process.cpuUsage counts the thread pool too, so the main thread's share is taken from the event loop's busy
// time.
async function measure(work) {
  const start = performance.now();
  const idle = performance.eventLoopUtilization();
  await work();
  return { elapsedMs: performance.now() - start, busyMs: performance.eventLoopUtilization(idle).active };
}

const disk = process.argv[2] ?? tmpdir();
const folders = existsSync('/dev/shm') ? ['/dev/shm', disk] : [disk];
console.log(`device: ${cpus()[0].model}, ${cpus().length} cores, Node ${process.version}`);
console.log(`dtype F32, ${COLUMNS} columns of [rows, ${WIDTH}], ${BLOCKS} files; 3 repeats, best`);
for (const parent of folders)
  for (const [rows, steps] of [
    [1, 50],
    [128, 1],
  ]) {
    const values = Array.from({ length: COLUMNS }, () => ({
      bytes: new Uint8Array(new Float32Array(rows * WIDTH).fill(1.5).buffer),
      shape: [rows, WIDTH],
    }));
    const gigabytes = (BLOCKS * steps * COLUMNS * rows * WIDTH * 4) / 1e9;
    const appends = BLOCKS * steps;
    for (const [name, run] of [
      ['raw writev', raw],
      ['dump', viaDump],
    ]) {
      let best;
      for (let repeat = 0; repeat < 3; repeat++) {
        const dir = mkdtempSync(join(parent, 'zayascope-bench-'));
        try {
          const measured = await run(dir, rows, steps, values);
          if (best === undefined || measured.elapsedMs < best.elapsedMs) best = measured;
        } finally {
          rmSync(dir, { recursive: true });
        }
      }
      console.log(
        [
          statfsSync(parent).type === 0x01021994 ? 'memory' : 'disk  ',
          `${String(rows).padStart(3)} rows x ${steps} steps`,
          name.padEnd(10),
          `${(gigabytes / (best.elapsedMs / 1e3)).toFixed(2)} GB/s`,
          `${(best.elapsedMs / appends).toFixed(3)} ms per append`,
          `${(best.busyMs / appends).toFixed(3)} ms of it on the main thread`,
        ].join('  '),
      );
    }
  }
