/** Makes the folders that cases begin with. */
import { execFileSync } from 'node:child_process';
import { cpSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { capture, Dump, NAME_MAPS, openZaya, policy, recordGguf, writeRepro } from '../../dist/index.js';
import { openBisectState } from '../../dist/locate/bisect/state.js';
import { writeRandomGguf } from '../recording/random-gguf.mjs';
import { RECORDED } from './kinds/recording.mjs';

const ROOT = join(import.meta.dirname, '..', '..');
const TINY = join(ROOT, 'dumps', 'tiny', 'model');
const PYTHON = process.env.ZAYASCOPE_PYTHON ?? join(ROOT, '.venv', 'bin', 'python');
const TEMPLATE = `{{ bos_token }}{%- for m in messages %}{%- if m.role == 'system' %}<|sys|>{{ m['content'] | trim }}
{%- elif m.role == "user" %}<|user|>{{ m.content }}{% else %}<|bot|>{{ m.content ~ eos_token }}{% endif %}
{%- if loop.last and add_generation_prompt %}<|bot|>{% endif %}{%- endfor %}{% set ns = namespace(x=1) %}{{ ns.x + messages|length }}`;

/** Writes the seed folders below `folder`. */
export async function makeSeeds(folder) {
  mkdirSync(folder, { recursive: true });
  execFileSync(PYTHON, [join(import.meta.dirname, 'oracle.py'), 'seeds', folder], { stdio: 'inherit' });
  const sub = (name) => {
    const path = join(folder, name);
    mkdirSync(path, { recursive: true });
    return path;
  };
  const json = (name, file, value) => writeFileSync(join(sub(name), file), JSON.stringify(value));
  const model = await openZaya(TINY, { policy: 'f32' });
  const tokens = [257, 91, 87, 101, 100, 110, 101, 115];
  const taps = 'layers.1.mlp.gate:*,layers.1.self_attn:attn_weights,layers.{0..1},lm_head';
  for (const tier of ['full', 'hash'])
    await capture(model, [tokens], {
      out: join(folder, tier === 'full' ? 'dump' : 'dump-hash'),
      taps,
      tier,
      overwrite: true,
    });
  model.close();
  for (const file of ['config.json']) cpSync(join(TINY, file), join(sub('config'), file));
  for (const name of ['tokenizer', 'template'])
    for (const file of ['tokenizer.json', 'tokenizer_config.json'])
      cpSync(join(TINY, file), join(sub(name), file));
  writeFileSync(join(folder, 'template', 'chat_template.jinja'), TEMPLATE);
  json('tokens', 'tokens.json', { tokens });
  json('policy', 'policy.json', policy('llamacpp'));
  json('name-map', 'map.json', NAME_MAPS.llamacpp);
  const state = await openBisectState(join(sub('bisect-state'), 'state.json'), 'seed');
  await state.set(['a', 'b'], 0.5);
  await state.set(['a'], 0.25);
  const reference = await Dump.open(join(ROOT, 'dumps', 'tiny', 'reference-float32'));
  const op = 'layers.1.self_attn.o_proj';
  await writeRepro({ dump: reference, op, model: TINY, policy: policy('f32'), out: join(folder, 'repro') });
  await reference.close();
  writePort(sub('port'));
  for (const architecture of RECORDED) await writeRecording(sub(`recording-${architecture}`), architecture);
}

/** A model, a recording of three tokens and one more, and the same again, which stays whole. */
async function writeRecording(folder, architecture) {
  const model = join(folder, 'model.gguf');
  await writeRandomGguf(model, architecture);
  const run = { model, tokens: [3, 10, 17], generate: 1, threads: 1 };
  await recordGguf({ ...run, out: join(folder, 'run'), overwrite: true });
  cpSync(join(folder, 'run'), join(folder, 'whole'), { recursive: true });
}

/** What the dump header writes of a run of four tokens. */
function writePort(folder) {
  const values = ['Qcur-0', 'result_output'].map((name, k) => ({ name, ne: [3 + k, 4, 1, 1] }));
  let offset = 0;
  const lines = [
    { format: 'zayascope-llamacpp', version: 1 },
    { position: 0, tokens: [1, 2, 3, 4] },
    { graph: 0, rows: 4 },
    ...values.map(({ name, ne }) => {
      const line = { name, graph: 0, type: 'F32', ne, offset };
      offset += 4 * ne[0] * ne[1];
      return line;
    }),
    { finished: true },
  ];
  writeFileSync(join(folder, 'index.jsonl'), `${lines.map((line) => JSON.stringify(line)).join('\n')}\n`);
  writeFileSync(
    join(folder, 'tensors.bin'),
    Buffer.from(new Float32Array(offset / 4).map((_, k) => k / 7).buffer),
  );
}

/**
 * The files of a seed folder by their path in it; what lies in `members` counts as inside the archive beside
 * it.
 */
export function readSeed(folder) {
  const files = new Map();
  for (const entry of readdirSync(folder, { recursive: true, withFileTypes: true })) {
    if (!entry.isFile()) continue;
    const path = join(entry.parentPath ?? entry.path, entry.name);
    const name = path.slice(folder.length + 1).replaceAll('\\', '/');
    files.set(name, readFileSync(path));
  }
  const archive = [...files.keys()].find((name) => /\.(npz|bin)$/.test(name) && !name.includes('/'));
  return new Map([...files].map(([name, bytes]) => [name.replace(/^members\//, `${archive}/`), bytes]));
}
