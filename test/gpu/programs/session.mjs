// Prefill, decode and a padded batch of the tiny model on lavapipe and on the CPU. Prints the energy NMSE of
// the logits of each.
import { readFileSync } from 'node:fs';
import { openZaya } from '../../../dist/index.js';

const [folder, promptFile] = process.argv.slice(2);
const { tokens } = JSON.parse(readFileSync(promptFile, 'utf8'));
const batch = [tokens.slice(0, 9), tokens.slice(0, 4), tokens.slice(3, 16)];

async function run(backend) {
  const model = await openZaya(folder, { backend, strictF32: true });
  // The longest call first: ggml frees its scratch buffers when a later one needs larger ones, and Mesa 22.3
  // still reads them (see native/src/backend.cc).
  const longer = model.session({ capacity: 128 });
  const values = { longer: await longer.forward([...tokens, ...tokens], { logits: 'all' }) }; // attention spans 128 instead of 64
  const session = model.session({ capacity: 128 });
  Object.assign(values, {
    prefill: await session.forward(tokens.slice(0, 40), { logits: 'all' }),
    chunk: await session.forward(tokens.slice(40, 50)),
    decode: join([await session.forward([tokens[50]]), await session.forward([tokens[51]])]),
  });
  await session.truncate(45);
  values.again = await session.forward(tokens.slice(45, 52));
  const together = model.session({ batch: batch.length, capacity: 128 });
  values.batch = await together.forwardBatch(batch);
  values.batchDecode = await together.forwardBatch(batch.map(() => [7]));
  for (const each of [session, together, longer]) each.close();
  model.close();
  return values;
}

function join(parts) {
  return Float32Array.from(parts.flatMap((part) => [...part]));
}

function nmse(a, b) {
  let [error, power] = [0, 0];
  for (let at = 0; at < a.length; at++) {
    error += (b[at] - a[at]) ** 2;
    power += a[at] ** 2;
  }
  return error / power;
}

const [cpu, vulkan] = [await run('cpu'), await run('lavapipe')];
console.log(
  JSON.stringify(Object.fromEntries(Object.keys(cpu).map((name) => [name, nmse(cpu[name], vulkan[name])]))),
);
