import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { Oracle } from './oracle.mjs';
import { caseSeed, seeded } from './random.mjs';
import { ReaderProcess } from './reader-process.mjs';
import { readSeed } from './seeds.mjs';

/** Limits of one case. */
export const LIMITS = { seconds: 20, bytes: 1 << 30 };

/**
 * Runs cases of one kind. A failure is a case that ended in a signal, hung, took too much memory, threw
 * anything but an error of the library with a code, was read as something else than what the oracle reads, or
 * was read where the oracle refuses for a reason that the kind does not give.
 *
 * @param kind one of `KINDS`. @param options `{ seeds, cases, seed, first = 0, keep, strict = false }`: the
 * folder of seed folders, how many cases from which number, a folder for what fails, and whether the oracle
 * is asked about what is refused here too.
 * @returns `{ kind, cases, read, refused, agreed, lenient, strict, failures: [{ number, what, detail }] }`;
 * lenient: read here and refused by the oracle, for a reason that the kind gives; strict: refused here and
 * read by the oracle. Both are lists of `{ number, detail }`.
 */
export async function runKind(kind, { seeds, cases, seed, first = 0, keep, strict = false }) {
  const files = new Map(kind.seeds.map((name) => [name, readSeed(join(seeds, name))]));
  const work = mkdtempSync(join(tmpdir(), `fuzz-${kind.kind}-`));
  const reader = new ReaderProcess(LIMITS);
  const oracle = new Oracle();
  const result = {
    kind: kind.kind,
    cases,
    read: 0,
    refused: 0,
    agreed: 0,
    lenient: [],
    strict: [],
    failures: [],
  };
  try {
    for (let number = first; number < first + cases; number++) {
      const random = seeded(caseSeed(seed, number));
      const base = files.get(random.pick(kind.seeds));
      const folder = join(work, String(number % 2));
      const mutants = kind.mutate(random, base);
      lay(folder, base, mutants);
      const target = join(folder, kind.target);
      let outcome = await reader.read(number, kind.kind, target);
      if (outcome.signal !== undefined && kind.inChild !== undefined)
        outcome = await reader.read(number, kind.inChild, target);
      const failure = await judge(outcome, kind, target, oracle, result, number, strict);
      if (failure === undefined) continue;
      result.failures.push({ number, ...failure });
      if (keep !== undefined) lay(join(keep, `${kind.kind}-${number}`), base, mutants);
    }
  } finally {
    reader.close();
    oracle.close();
    rmSync(work, { recursive: true, force: true });
  }
  return result;
}

/** Writes the seed's files with the mutants in place; what only stands in an archive is left out. */
function lay(folder, base, mutants) {
  rmSync(folder, { recursive: true, force: true });
  for (const [name, bytes] of new Map([...base, ...mutants])) {
    if (/\.(npz|bin)\//.test(name)) continue;
    const path = join(folder, name);
    mkdirSync(dirname(path), { recursive: true });
    writeFileSync(path, bytes);
  }
}

async function judge(outcome, kind, target, oracle, result, number, strict) {
  for (const what of ['signal', 'hang', 'memory', 'bug'])
    if (outcome[what] !== undefined) return { what, detail: String(outcome[what]).slice(0, 600) };
  if (outcome.error !== undefined) {
    result.refused++;
    if (!strict || kind.oracle === undefined) return undefined;
    const right = await oracle.read(kind.oracle, target);
    if (right.values !== undefined) result.strict.push({ number, detail: outcome.error.message });
    return undefined;
  }
  result.read++;
  if (kind.oracle === undefined) return undefined;
  const right = await oracle.read(kind.oracle, target);
  if (right.values === undefined) {
    // What an independent reader refuses is read here for a reason that the kind gives, or wrongly.
    if (!kind.lenient?.some(([pattern]) => pattern.test(right.error)))
      return { what: 'lenient', detail: `read here, the oracle: ${right.error}` };
    result.lenient.push({ number, detail: right.error });
    return undefined;
  }
  const wrong = kind.check?.(outcome.values, right.values);
  if (wrong !== undefined) return { what: 'wrong', detail: wrong };
  if (kind.check !== undefined || JSON.stringify(right.values) === JSON.stringify(outcome.values)) {
    result.agreed++;
    return undefined;
  }
  return { what: 'disagreement', detail: firstDifference(outcome.values, right.values) };
}

function firstDifference(ours, right) {
  const length = Math.max(ours.length, right.length);
  for (let k = 0; k < length; k++) {
    const [a, b] = [JSON.stringify(ours[k]), JSON.stringify(right[k])];
    if (a !== b) return `here ${a}, the oracle ${b}`;
  }
  return 'none';
}
