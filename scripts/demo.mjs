// `npm run demo`: captures the tiny model under both policies and compares it with its committed PyTorch
// dumps, block by block. Exit code 1 if a tap of the F32 run is further than 1e-10 from PyTorch, an expert
// differs, or a tap is missing or unpaired.
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import {
  capture,
  Dump,
  diffDumps,
  formatComparison,
  openZaya,
  ZayascopeError,
  zayaTaps,
} from '../dist/index.js';
import { demoProblems, MOST_NMSE } from './demo-gate.mjs';

const ROOT = fileURLToPath(new URL('..', import.meta.url));
const TINY = join(ROOT, 'dumps', 'tiny');
const OUT = join(ROOT, 'out', 'demo');

const color = process.stdout.isTTY === true && process.stdout.hasColors();
const { text, tokens } = JSON.parse(readFileSync(join(TINY, 'prompt.json'), 'utf8'));

/** Runs the prompt under a policy into out/demo/POLICY; gives the names of the taps that the model has. */
async function captureTiny(policy) {
  const model = await openZaya(join(TINY, 'model'), { policy });
  try {
    const { manifest, elapsedMs } = await capture(model, [tokens], {
      out: join(OUT, policy),
      overwrite: true,
    });
    const { device, threads } = manifest.backend;
    const time = `${elapsedMs.toFixed(0)} ms on ${device}, threads: ${threads}`;
    console.log(
      `  out/demo/${policy.padEnd(12)}  ${manifest.taps.length} taps x ${tokens.length} tokens in ${time}`,
    );
    return zayaTaps(model.config).map(({ name }) => name);
  } finally {
    model.close();
  }
}

async function compare(reference, tested, options = {}) {
  const dumps = await Promise.all([reference, tested].map((folder) => Dump.open(folder)));
  try {
    return await diffDumps(...dumps, options);
  } finally {
    for (const dump of dumps) await dump.close();
  }
}

async function main() {
  console.log(`Capturing dumps/tiny/model with the prompt ${JSON.stringify(text)}`);
  const names = await captureTiny('f32');
  await captureTiny('bf16-weights');

  const reference = join(TINY, 'reference-float32');
  const f32 = await compare(reference, join(OUT, 'f32'), { failAbove: MOST_NMSE });
  const bf16 = await compare(reference, join(OUT, 'bf16-weights'));
  const floor = await compare(reference, join(TINY, 'reference-bfloat16'));

  console.log(
    '\nAgainst PyTorch transformers in F32: energy NMSE of each block, its output / its worst value;',
  );
  console.log('+n: tokens that took another expert.\n');
  const columns = [
    { title: 'f32', report: f32 },
    { title: 'bf16-weights', report: bf16 },
    { title: 'noise floor: PyTorch BF16', report: floor },
  ];
  console.log(formatComparison(columns, { color }));

  const problems = demoProblems(f32, names);
  const worst = Math.max(...f32.tapReports.map((tap) => (tap.kind === 'float' ? tap.metrics.nmse : 0)));
  if (problems.length === 0) {
    console.log(
      `\nPASS  policy f32: all ${names.length} taps within ${MOST_NMSE} of PyTorch (worst ${worst.toExponential(1)}), every expert the same`,
    );
    return;
  }
  console.log(`\nFAIL  policy f32: ${problems.length} problems`);
  for (const problem of problems.slice(0, 20)) console.log(`  ${problem}`);
  process.exitCode = 1;
}

main().catch((error) => {
  console.error(error instanceof ZayascopeError ? `demo: ${error.code}: ${error.message}` : error);
  process.exitCode = 2;
});
