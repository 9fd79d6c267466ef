// Compiles, runs and frees graphs many times in one process: drivers must not reach for memory that has been
// freed.
import { readFileSync } from 'node:fs';
import { openZaya } from '../../../dist/index.js';

const [folder, promptFile, backend] = process.argv.slice(2);
const tokens = JSON.parse(readFileSync(promptFile, 'utf8')).tokens.slice(0, 8);
const model = await openZaya(folder, { backend, strictF32: true });
let first;
let same = 0;
for (let round = 0; round < 10; round++) {
  const logits = Buffer.from((await model.prefill(tokens)).buffer).toString('hex');
  first ??= logits;
  if (logits === first) same++;
}
model.close();
console.log(JSON.stringify({ same }));
