// `npm run bench -- NAME [options]` runs test/bench/NAME.mjs.
import { existsSync, readdirSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

const NOT_BENCHES = ['run.mjs', 'synthetic-model.mjs'];
const name = process.argv[2];
const path = fileURLToPath(new URL(`./${name}.mjs`, import.meta.url));
if (name === undefined || NOT_BENCHES.includes(`${name}.mjs`) || !existsSync(path)) {
  const names = readdirSync(new URL('.', import.meta.url)).filter(
    (file) => file.endsWith('.mjs') && !NOT_BENCHES.includes(file),
  );
  console.error(
    `bench: expected one of ${names.map((file) => file.slice(0, -4)).join(', ')}, got ${name ?? 'nothing'}`,
  );
  process.exitCode = 2;
} else {
  process.argv.splice(2, 1);
  await import(path);
}
