// Runs mutations `first` .. `first + count − 1` of a GGUF file in a process of its own:
// `node gguf-mutations-process.mjs FILE FOLDER FIRST COUNT`.
import { fileURLToPath } from 'node:url';
import { runnerImport } from 'vite';

const mutations = fileURLToPath(new URL('./gguf-mutations.ts', import.meta.url));
const { module } = await runnerImport(mutations, {
  configFile: false,
  logLevel: 'error',
  oxc: { target: 'es2023' },
});
const [file, folder, first, count] = process.argv.slice(2);
await module.runMutations(file, folder, Number(first), Number(count));
