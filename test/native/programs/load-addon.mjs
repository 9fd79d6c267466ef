/**
 * Loads the addon as `src/native.ts` does, for programs that run without a TypeScript loader (child processes
 * and workers).
 */
import { createRequire } from 'node:module';
import { fileURLToPath } from 'node:url';

class ZayascopeError extends Error {
  constructor(code, message) {
    super(message);
    this.code = code;
  }
}

export function loadAddon() {
  const require = createRequire(import.meta.url);
  const build = require('../../../native/build/paths.json');
  const addon = require(`../../../native/build/${build.addon}`);
  addon.setErrorClass(ZayascopeError);
  addon.loadBackends(fileURLToPath(new URL(`../../../native/build/${build.libraries}`, import.meta.url)));
  return addon;
}

/** A planned graph `y = x² + x` over `size` values, everything else dropped but what is returned. */
export function squareGraph(addon, backend, size) {
  const context = new addon.Context(8);
  const x = context.tensor(0, [size, 1, 1, 1], 'x');
  const square = context.op('mul', [x, x], [], 0, [size, 1, 1, 1], 'square');
  const y = context.op('add', [square, x], [], 0, [size, 1, 1, 1], 'y');
  context.setOutput(y);
  addon.Buffer.allocate(backend, context);
  const graph = new addon.Graph(context, [y]);
  new addon.Arena(backend).plan([graph]);
  context.write(x, new Uint8Array(new Float32Array(size).fill(3).buffer), 0);
  return { context, graph, y };
}

/** A planned graph of `nodes` matrix products of size 512: some ms each. */
export function slowGraph(addon, backend, nodes) {
  const SIZE = [512, 512, 1, 1];
  const context = new addon.Context(nodes + 2);
  const x = context.tensor(0, SIZE, 'x');
  let y = x;
  for (let i = 0; i < nodes; i++) y = context.op('mul_mat', [x, y], [], 0, SIZE, `y${i}`);
  addon.Buffer.allocate(backend, context);
  context.fill(x, 0);
  const graph = new addon.Graph(context, [y]);
  new addon.Arena(backend).plan([graph]);
  return graph;
}
