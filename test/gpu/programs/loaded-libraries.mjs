// Runs the tiny model on the CPU and prints which GPU libraries the process has mapped by then.
import { readFileSync } from 'node:fs';
import { openZaya } from '../../../dist/index.js';

const model = await openZaya(process.argv[2]);
await model.prefill([1, 2, 3]);
model.close();
const files = readFileSync('/proc/self/maps', 'utf8').match(/\/\S+\.so\S*/g) ?? [];
console.log(JSON.stringify([...new Set(files.filter((file) => /vulkan|cuda|hip|lvp/.test(file)))]));
