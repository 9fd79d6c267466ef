/** Worker: computes slow graphs if told, else 200 small ones, and posts what happened. */
import { parentPort, workerData } from 'node:worker_threads';
import { loadAddon, slowGraph, squareGraph } from './load-addon.mjs';

const addon = loadAddon();
const backend = new addon.Backend('CPU');
backend.setThreads(1);
if (workerData.slow) {
  const graph = slowGraph(addon, backend, 40);
  parentPort.postMessage('computing');
  await Promise.all([backend.compute([graph]), backend.compute([graph]), backend.compute([graph])]);
} else {
  let right = 0;
  for (let round = 0; round < 200; round++) {
    const { context, graph, y } = squareGraph(addon, backend, 256);
    await backend.compute([graph]);
    const bytes = new Uint8Array(1024);
    context.read(y, bytes, 0);
    if (new Float32Array(bytes.buffer).every((value) => value === 12)) right++;
  }
  parentPort.postMessage(right);
}
