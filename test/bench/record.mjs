// What recording costs: the same tokens through libllama without reading a value, recorded into a folder, and
// the recording's bytes written raw, alternating in one process; and how large a recording is beside the
// values that it holds.
//
//   npm run bench -- record [--architecture llama|qwen3moe|mamba2] [--width 512] [--blocks 8] [--tokens 128]
//   [--dtype F32|BF16] [--generate 0] [--threads 1] [--repeats 7] [--disk FOLDER]
//
// The target: recorded at most 1.1 x (without + raw write), bytes at most 1.15 x the values'.
import { randomFillSync } from 'node:crypto';
import { existsSync, mkdtempSync, readdirSync, rmSync, statSync } from 'node:fs';
import { open } from 'node:fs/promises';
import { cpus, tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { Grafts } from '../../dist/recording/record/grafts.js';
import { RecordingRun, recordingSession } from '../../dist/recording/record/run-record.js';
import { writeRandomGguf } from '../recording/random-gguf.mjs';

const { values } = parseArgs({
  options: {
    architecture: { type: 'string', default: 'llama' },
    width: { type: 'string', default: '512' },
    blocks: { type: 'string', default: '8' },
    tokens: { type: 'string', default: '128' },
    dtype: { type: 'string', default: 'F32' },
    generate: { type: 'string', default: '0' },
    threads: { type: 'string', default: '1' },
    repeats: { type: 'string', default: '7' },
    disk: { type: 'string', default: existsSync('/dev/shm') ? '/dev/shm' : tmpdir() },
  },
});
const [width, blocks, tokens, generate, threads, repeats] = [
  values.width,
  values.blocks,
  values.tokens,
  values.generate,
  values.threads,
  values.repeats,
].map(Number);
const median = (list) => [...list].sort((a, b) => a - b)[list.length >> 1];
const scratch = mkdtempSync(join(values.disk, 'zayascope-bench-'));
// Wall time, and the time of all processors, which does not depend on what else the machine does.
const elapsed = async (run) => {
  const [start, cpu] = [performance.now(), process.cpuUsage()];
  await run();
  const { user, system } = process.cpuUsage(cpu);
  return { ms: performance.now() - start, cpuMs: (user + system) / 1000 };
};

try {
  const model = join(scratch, 'model.gguf');
  const vocabulary = 4096;
  await writeRandomGguf(model, values.architecture, {
    dtype: values.dtype,
    sizes: { blocks, hidden: width, heads: 8, kvHeads: 4, feedForward: 3 * width, experts: 8, vocabulary },
  });
  const run = {
    model,
    sequences: [Array.from({ length: tokens }, (_, k) => (k * 7919 + 13) % vocabulary)],
    taps: '**',
    positions: 'all',
    tier: 'full',
    out: join(scratch, 'recording'),
    overwrite: true,
    generate,
    chunk: tokens,
    ubatch: 512,
    threads,
    flashAttention: false,
    keyType: 'F16',
    valueType: 'F16',
    set: [],
    pin: [],
  };
  const session = recordingSession(run);
  const recording = new RecordingRun(session, run);
  const calls = await recording.collect();
  const grafts = await Grafts.open(run, recording.graphs, recording.plan);
  let valueBytes = 0;
  let nodes = 0;
  const modes = {
    without: async () => {
      session.start(() => {});
      for (const call of calls) await session.decode(call.parts, 'off');
    },
    recorded: async () => {
      const result = await recording.record(calls, grafts, () => {});
      if (!result.isSame) throw new Error('bench: other logits with and without recording');
      ({ valueBytes, nodes } = result);
    },
    raw: () => rawWrite(folderBytes(run.out)),
  };
  const times = { without: [], recorded: [], raw: [] };
  for (let repeat = 0; repeat <= repeats; repeat++)
    for (const [name, mode] of Object.entries(modes)) {
      // Making room is no part of recording.
      if (name === 'recorded') rmSync(run.out, { recursive: true, force: true });
      const taken = await elapsed(mode);
      if (repeat > 0) times[name].push(taken); // the first round warms caches and the compiler
    }
  session[Symbol.dispose]();
  const each = (key, pick) => Object.values(times).map((list) => pick(list.map((taken) => taken[key])));
  const [without, recorded, raw] = each('ms', median);
  const fastest = each('ms', (list) => Math.min(...list));
  const [cpuWithout, cpuRecorded, cpuRaw] = each('cpuMs', median);
  const bytes = folderBytes(run.out);
  console.log(
    `device ${cpus()[0].model} (${cpus().length} cores seen), ${threads} thread${threads === 1 ? '' : 's'}, libllama on the CPU`,
  );
  console.log(
    `model  ${values.architecture}, ${blocks} blocks of width ${width}, vocabulary ${vocabulary}, ${values.dtype}; ${tokens} tokens, ${generate} steps, ${nodes} nodes; median of ${repeats} repeats, to ${values.disk === '/dev/shm' ? 'memory' : 'disk'}`,
  );
  console.log(`without recording  ${without.toFixed(1).padStart(8)} ms`);
  console.log(`raw write          ${raw.toFixed(1).padStart(8)} ms  ${(bytes / raw / 1e6).toFixed(2)} GB/s`);
  console.log(
    `recorded           ${recorded.toFixed(1).padStart(8)} ms  ${(recorded / (without + raw)).toFixed(3)}x both`,
  );
  // What others do on the machine only adds.
  console.log(
    `fastest of each    ${fastest[1].toFixed(1).padStart(8)} ms  ${(fastest[1] / (fastest[0] + fastest[2])).toFixed(3)}x both (${fastest[0].toFixed(1)} and ${fastest[2].toFixed(1)} ms)`,
  );
  console.log(
    `processor time     ${cpuRecorded.toFixed(1).padStart(8)} ms  ${(cpuRecorded / (cpuWithout + cpuRaw)).toFixed(3)}x both (${cpuWithout.toFixed(1)} and ${cpuRaw.toFixed(1)} ms)`,
  );
  console.log(
    `size               ${(bytes / 1e6).toFixed(1).padStart(8)} MB  ${(bytes / valueBytes).toFixed(3)}x its values (${(valueBytes / 1e6).toFixed(1)} MB)`,
  );
} finally {
  rmSync(scratch, { recursive: true, force: true });
}

async function rawWrite(bytes) {
  const file = join(scratch, 'raw');
  const chunk = randomFillSync(Buffer.alloc(8 << 20));
  const handle = await open(file, 'w');
  for (let done = 0; done < bytes; done += chunk.length)
    await handle.write(chunk, 0, Math.min(chunk.length, bytes - done));
  await handle.close();
  rmSync(file);
}

function folderBytes(path) {
  return readdirSync(path).reduce((sum, name) => sum + statSync(join(path, name)).size, 0);
}
