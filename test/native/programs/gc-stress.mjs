/**
 * Makes and drops objects in every order, with collections in between and during computations; prints how
 * many values were right. Needs --expose-gc.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { loadAddon, squareGraph } from './load-addon.mjs';

const addon = loadAddon();
const collect = globalThis.gc;
const SIZE = 1024;
let right = 0;

function value({ context, y }) {
  const bytes = new Uint8Array(SIZE * 4);
  context.read(y, bytes, 0);
  return new Float32Array(bytes.buffer)[SIZE - 1];
}

// Buffers, arenas and backends are dropped at once and only graphs and contexts kept: what they need must
// stay.
for (let round = 0; round < 300; round++) {
  const backend = new addon.Backend('CPU');
  backend.setThreads(1 + (round % 2));
  const made = squareGraph(addon, backend, SIZE);
  const running = backend.compute([made.graph]);
  if (round % 3 === 0) collect();
  await running;
  if (round % 5 === 0) collect();
  if (value(made) === 12) right++;
}

// The other way round: only a promise is kept, then only a view.
for (let round = 0; round < 300; round++) {
  let running;
  let view;
  {
    const backend = new addon.Backend('CPU');
    backend.setThreads(1);
    const { context, graph, y } = squareGraph(addon, backend, SIZE);
    running = backend.compute([graph]);
    view = context.view(y);
  }
  if (round % 3 === 0) collect();
  await running;
  if (round % 5 === 0) {
    collect();
    await sleep(0); // finalizers run between turns
  }
  if (new Float32Array(view.buffer, view.byteOffset, SIZE)[0] === 12) right++;
}

// Views of memory that is closed while it is read off the thread.
for (let round = 0; round < 100; round++) {
  const backend = new addon.Backend('CPU');
  const context = new addon.Context(2);
  const x = context.tensor(0, [1 << 16, 1, 1, 1], 'x');
  const buffer = addon.Buffer.allocate(backend, context);
  context.fill(x, 0);
  const running = addon.rowStats([{ bytes: context.view(x), type: 0, columns: 1 << 16 }]);
  buffer.close();
  context.close();
  backend.close();
  if (round % 10 === 0) collect();
  const [stats] = await running;
  if (stats[1] === 0) right++;
}
collect();
await sleep(0);
collect();
const MEBIBYTE = 2 ** 20;
console.log(
  JSON.stringify({ right, externalMebibytes: Math.round(process.memoryUsage().external / MEBIBYTE) }),
);
