/** Ends the process while a computation runs, with objects of all kinds alive. */
import { loadAddon, slowGraph } from './load-addon.mjs';

const addon = loadAddon();
const backend = new addon.Backend('CPU');
backend.setThreads(2);
const running = backend.compute([slowGraph(addon, backend, 40)]);
setTimeout(() => {
  console.log('exit');
  process.exit(0);
}, 20);
await running;
