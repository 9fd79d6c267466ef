// What an isolated replay costs beside a capture: the same model and tokens, every tap, medians of
// alternating runs within one process. The replay reads the dump, puts its values into the run and measures
// each op's own error; the capture writes the same values to disk.
//
//   npm run bench -- replay [--model dumps/tiny/model] [--tokens-file dumps/tiny/prompt.json] [--repeats 15]
//   [--policy f32] [--threads N] [--disk FOLDER]
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { cpus, tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { capture } from '../../dist/capture/capture.js';
import { Dump } from '../../dist/dump/reader.js';
import { localErrors } from '../../dist/locate/faults/local.js';
import { openModel } from '../../dist/models/runtime/model.js';

const tiny = join(import.meta.dirname, '..', '..', 'dumps', 'tiny');
const { values } = parseArgs({
  options: {
    model: { type: 'string', default: join(tiny, 'model') },
    'tokens-file': { type: 'string', default: join(tiny, 'prompt.json') },
    repeats: { type: 'string', default: '15' },
    policy: { type: 'string', default: 'f32' },
    threads: { type: 'string' },
    disk: { type: 'string', default: tmpdir() },
  },
});
const repeats = Number(values.repeats);
const { tokens } = JSON.parse(readFileSync(values['tokens-file'], 'utf8'));
const median = (list) => [...list].sort((a, b) => a - b)[list.length >> 1];
const elapsed = async (run) => {
  const start = performance.now();
  await run();
  return performance.now() - start;
};

const scratch = mkdtempSync(join(values.disk, 'zayascope-bench-'));
const model = await openModel(values.model, {
  policy: values.policy,
  ...(values.threads === undefined ? {} : { threads: Number(values.threads) }),
});
try {
  const out = join(scratch, 'dump');
  await capture(model, [tokens], { out });
  const dump = await Dump.open(out);
  const times = { capture: [], replay: [] };
  for (let repeat = 0; repeat <= repeats; repeat++) {
    const another = join(scratch, `dump-${repeat}`);
    const captured = await elapsed(() => capture(model, [tokens], { out: another }));
    rmSync(another, { recursive: true });
    const replayed = await elapsed(() => localErrors(model, dump, { right: 'dump' }));
    if (repeat === 0) continue; // warms caches and the compiler
    times.capture.push(captured);
    times.replay.push(replayed);
  }
  const taps = dump.taps.length;
  await dump.close();
  const [captured, replayed] = [median(times.capture), median(times.replay)];
  console.log(
    `device ${model.backend.device.description} (${cpus().length} cores seen), ${model.backend.threads} threads, policy ${values.policy}`,
  );
  console.log(
    `${tokens.length} tokens, ${taps} taps, F32; median of ${repeats} alternating repeats, plans compiled each time`,
  );
  console.log(`capture to disk   ${captured.toFixed(1)} ms`);
  console.log(`isolated replay   ${replayed.toFixed(1)} ms  (${(replayed / captured).toFixed(2)}x)`);
} finally {
  model.close();
  rmSync(scratch, { recursive: true });
}
