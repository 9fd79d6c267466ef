// `npm run table`: what each weight type costs, on a random model whose rows hold whole K-blocks. Prints the
// table of docs/quantisation.md.
//
//   node scripts/quantisation-table.mjs [--model PATH] [--tokens COUNT]
//
// Without --model, dumps/reference/random_checkpoint.py makes one (hidden and expert widths 256; router
// biases fitted, so that all experts are used). Every type is written by `convert` and run over the same
// random tokens twice: with weights as stored, where ggml rounds activations to match, and with weights
// widened to F32.
import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import {
  capture,
  convertZaya,
  Dump,
  diffDumps,
  GGUF_TYPES,
  openZaya,
  ZayascopeError,
} from '../dist/index.js';

const ROOT = fileURLToPath(new URL('..', import.meta.url));
const TAPS = 'lm_head,layers.*.mlp.gate:expert';
/** Shape of the random model. */
const SHAPE =
  '--hidden 256 --intermediate 256 --layers 8 --experts 8 --heads 8 --head-dim 32 --router-hidden 64';
const RANDOM = `${SHAPE} --vocab 1024 --untied --skip-share 0.02 --seed 1`;

const { values } = parseArgs({
  options: { model: { type: 'string' }, tokens: { type: 'string', default: '512' } },
});

function randomModel(folder) {
  execFileSync(process.execPath, [join(ROOT, 'scripts', 'python-env.mjs')], { cwd: ROOT, stdio: 'ignore' });
  const python = process.env.ZAYASCOPE_PYTHON ?? join(ROOT, '.venv', 'bin', 'python');
  const out = join(folder, 'model');
  const args = ['dumps/reference/random_checkpoint.py', '--out', out, ...RANDOM.split(' ')];
  execFileSync(python, args, { cwd: ROOT, stdio: 'ignore' });
  console.log(`Random model: random_checkpoint.py ${RANDOM}`);
  return out;
}

/** Token ids that look random and are the same everywhere. */
function tokensOf(count, vocabulary) {
  let state = 1;
  return Array.from({ length: count }, () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return Math.floor((state / 2 ** 32) * vocabulary);
  });
}

async function run(model, policy, tokens, out) {
  const opened = await openZaya(model, { policy });
  try {
    await capture(opened, [tokens(opened.config.vocab_size)], { out, taps: TAPS, overwrite: true });
  } finally {
    opened.close();
  }
  return Dump.open(out);
}

async function compare(reference, tested) {
  const { tapReports, logits, routing } = await diffDumps(reference, tested);
  await tested.close();
  const { metrics } = tapReports.find(({ name }) => name === 'lm_head');
  return { nmse: metrics.nmse, kl: logits.klMean, top1: logits.top1Agreement, routing };
}

function row(type, sizeBytes, stored, widened) {
  const error = (value) => (value === 0 ? '0' : value.toExponential(1));
  const share = (value) => `${(100 * value).toFixed(1)} %`;
  const flips = ({ flipped, choices }) => `${flipped} of ${choices}`;
  const cells = [
    type,
    `${(sizeBytes / 1e6).toFixed(1)} MB`,
    error(stored.nmse),
    error(stored.kl),
    share(stored.top1),
    flips(stored.routing),
    error(widened.nmse),
    flips(widened.routing),
  ];
  return `| ${cells.join(' | ')} |`;
}

async function main() {
  const folder = mkdtempSync(join(tmpdir(), 'zayascope-table-'));
  const at = (name) => join(folder, name);
  const count = Number(values.tokens);
  const tokens = (vocabulary) => tokensOf(count, vocabulary);
  try {
    const model = values.model ?? randomModel(folder);
    const reference = await run(model, 'f32', tokens, at('reference'));
    console.log(`${count} random tokens; reference: the checkpoint widened, policy f32\n`);
    console.log(
      '| weight type | file size | logit NMSE against F32 | KL, nats | top-1 agreement | flipped experts | NMSE, weights alone | flipped, weights alone |',
    );
    console.log('|---|---:|---:|---:|---:|---:|---:|---:|');
    for (const type of GGUF_TYPES) {
      const file = at(`${type}.gguf`);
      const { fallbacks } = await convertZaya(model, { type, out: file });
      if (fallbacks.length > 0)
        console.log(`${type}: ${fallbacks.length} tensors in another type, for their rows`);
      const stored = await compare(reference, await run(file, 'bf16-weights', tokens, at('stored')));
      const widened = await compare(reference, await run(file, 'f32', tokens, at('widened')));
      console.log(row(type, statSync(file).size, stored, widened));
      rmSync(file);
    }
    await reference.close();
  } finally {
    rmSync(folder, { recursive: true });
  }
}

main().catch((error) => {
  console.error(error instanceof ZayascopeError ? `table: ${error.code}: ${error.message}` : error);
  process.exitCode = 2;
});
