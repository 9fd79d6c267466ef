/**
 * Feeds mutated files to the readers, in child processes with limits of time and memory, and compares what is
 * read with independent readers.
 *
 *     npm run fuzz -- KIND|all [--cases 300] [--seed 1] [--first 0] [--keep FOLDER] [--groups]
 *
 * Prints a line a kind and every failure with its number: `--first N --cases 1 --keep FOLDER` makes that case
 * again. `--groups` asks the oracle about what is refused here too, and prints what only one of the two
 * reads, grouped by its sentence.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { KINDS } from './kinds.mjs';
import { runKind } from './run-kind.mjs';
import { makeSeeds } from './seeds.mjs';

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    cases: { type: 'string', default: '300' },
    seed: { type: 'string', default: '1' },
    first: { type: 'string', default: '0' },
    keep: { type: 'string' },
    groups: { type: 'boolean', default: false },
  },
});
const wanted =
  positionals.length === 0 || positionals.includes('all')
    ? KINDS
    : KINDS.filter(({ kind }) => positionals.includes(kind));
if (
  wanted.length === 0 ||
  positionals.some((name) => name !== 'all' && !KINDS.some(({ kind }) => kind === name))
) {
  console.error(
    `fuzz: expected all or some of ${KINDS.map(({ kind }) => kind).join(', ')}, got ${positionals.join(' ')}`,
  );
  process.exit(2);
}
const folder = mkdtempSync(join(tmpdir(), 'fuzz-seeds-'));
let failures = 0;
try {
  await makeSeeds(folder);
  for (const kind of wanted) {
    const start = performance.now();
    const result = await runKind(kind, {
      seeds: folder,
      cases: Number(values.cases),
      seed: Number(values.seed),
      first: Number(values.first),
      keep: values.keep,
      strict: values.groups,
    });
    const seconds = ((performance.now() - start) / 1000).toFixed(1);
    console.log(
      `${result.kind.padEnd(13)} ${result.cases} cases: ${result.read} read (${result.agreed} as the oracle, ${result.lenient.length} that it refuses), ${result.refused} refused, ${result.failures.length} failed, ${seconds} s`,
    );
    for (const { number, what, detail } of result.failures.slice(0, 20))
      console.log(`  ${number} ${what}: ${detail}`);
    if (values.groups) {
      printGroups('failed', result.failures);
      printGroups('read here, refused by the oracle', result.lenient);
      printGroups('refused here, read by the oracle', result.strict);
    }
    failures += result.failures.length;
  }
} finally {
  rmSync(folder, { recursive: true, force: true });
}
process.exitCode = failures > 0 ? 1 : 0;

/** Cases of one sentence, its numbers and names left out, in one line with the first case's number. */
function printGroups(title, cases) {
  const groups = new Map();
  for (const one of cases) {
    const sentence = one.detail.replaceAll(/\/\S+/g, 'PATH').replaceAll(/\d+/g, '#').slice(0, 160);
    groups.set(sentence, [...(groups.get(sentence) ?? []), one.number]);
  }
  for (const [sentence, numbers] of [...groups].sort((a, b) => b[1].length - a[1].length))
    console.log(`  ${title}: ${numbers.length} (first ${numbers[0]}): ${sentence}`);
}
