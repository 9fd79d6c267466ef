// Errors of a device that is open: memory that it does not have, settings that came too late. Prints code and
// message of each.
import { openBackend } from '../../../dist/graph/backend.js';
import { ResidentMemory } from '../../../dist/graph/resident.js';
import { openZaya } from '../../../dist/index.js';

const [folder] = process.argv.slice(2);
const backend = openBackend('lavapipe', { strictF32: true });
const results = {};
const attempt = async (name, work) => {
  try {
    await work();
    results[name] = null;
  } catch ({ code, message }) {
    results[name] = { code, message };
  }
};
const memory = new ResidentMemory(backend);
await attempt('buffer', () => memory.allocate([{ name: 'huge', dtype: 'F32', shape: [2 ** 20, 2 ** 12] }]));
const model = await openZaya(folder, { backend: 'lavapipe' });
await attempt('intermediate values', () => model.plan({ tokens: 20_000 }));
await attempt('cache', () => model.session({ batch: 4_000, capacity: 4_000 }));
await attempt('other settings', () => openBackend('vulkan', { strictF32: false }));
await attempt('the same settings', () => openBackend('vulkan', { strictF32: true }).close());
console.log(JSON.stringify({ free: backend.device.memoryFreeBytes, results }));
