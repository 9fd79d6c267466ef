/** The device that nodes are run on, each as a graph of its own. */
import { type Backend, type BackendOptions, openBackend } from '../../graph/backend.js';

/** What nodes need of a device. */
export type NodeBackend = Pick<Backend, 'device' | 'native'> & Disposable;

/**
 * Opens a device for graphs of one node.
 *
 * ggml's Vulkan backend keeps memory from graph to graph. In graphs of one node it is too small when a
 * `MUL_MAT` comes after a `MUL_MAT_ID`, and is written past (ggml 0.25.1 on lavapipe: the process ended in
 * every replay of a model with experts). So but for the CPU each node has an instance of its own: `native`
 * gives a new one each time that it is asked for.
 */
export function openNodeBackend(name: string, options: BackendOptions): NodeBackend {
  const first = openBackend(name, options);
  if (first.device.type === 'cpu') return first;
  let current = first;
  let isUsed = false;
  return {
    device: first.device,
    get native() {
      if (isUsed) {
        current[Symbol.dispose]();
        current = openBackend(name, options);
      }
      isUsed = true;
      return current.native;
    },
    [Symbol.dispose]: () => current[Symbol.dispose](),
  };
}
