// Runs combinations `first` .. `first + count − 1` of random-chunk.ts in a process of its own:
// `node random-chunk-process.mjs FIRST COUNT`.
import { fileURLToPath } from 'node:url';
import { runnerImport } from 'vite';

const chunk = fileURLToPath(new URL('./random-chunk.ts', import.meta.url));
const { module } = await runnerImport(chunk, {
  configFile: false,
  logLevel: 'error',
  oxc: { target: 'es2023' },
});
await module.runChunk(Number(process.argv[2]), Number(process.argv[3]));
