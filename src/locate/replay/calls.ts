import type { DumpView } from '../../dump/dump-view.js';
import type { FileRows } from '../../dump/reader.js';
import { knownTokens } from '../../dump/sequences.js';
import { badArgument } from '../../errors.js';
import { FAMILIES } from '../../families/families.js';
import { hasRole } from '../../families/roles.js';

/** One forward call of one sequence, as a dump's rows tell it: a prefill, a chunk, or a decode step. */
export interface DumpCall {
  sequence: number;
  /** Number of the step in the dump, and of the call within its sequence, from 0. */
  step: number;
  index: number;
  /** Positions before the call. */
  past: number;
  tokens: readonly number[];
}

const STATE_ROLES = ['state', 'cache.key', 'cache.value'] as const;

/** True for names of states of sequences that calls with a cache leave behind, of any family. */
export function isState(name: string): boolean {
  return FAMILIES.some((family) => STATE_ROLES.some((role) => hasRole(family, role, name)));
}

/**
 * The forward calls that a dump holds, sequence by sequence in the order of their positions. Padding is no
 * position, so each sequence of a batch counts by itself.
 *
 * @throws `BAD_ARGUMENT` for a dump that is not of tier full, holds no value of tokens, or lacks positions of
 * a sequence: a replay computes each from its start.
 */
export async function dumpCalls(
  dump: Pick<DumpView, 'dir' | 'manifest' | 'taps' | 'rows'>,
): Promise<DumpCall[]> {
  const refuse = (expected: string, got: string): never => {
    throw badArgument('replay', expected, got, dump.dir);
  };
  if (dump.manifest.tier !== 'full') refuse('a dump of tier full', `tier ${dump.manifest.tier}`);
  const files = new Map(
    dump.taps.filter(({ scope }) => scope === 'token').map((tap) => [tap.file, tap.name]),
  );
  if (files.size === 0) refuse('a dump with values of tokens', 'none');
  const sequences = knownTokens(dump.manifest.sequences) ?? refuse('the token ids of all sequences', 'none');
  const total = sequences.reduce((sum, { length }) => sum + length, 0);
  let found: DumpCall[] | undefined;
  for (const [file, name] of files) {
    const rows = await dump.rows(name);
    if (rows.position.length !== total)
      refuse(`all ${total} positions`, `${rows.position.length} rows in ${file}`);
    const own = callsOf(rows, sequences, (row) =>
      refuse(
        'the positions of each sequence in order, from its start',
        `sequence ${rows.sequence[row]} position ${rows.position[row]} in step ${rows.step[row]} of ${file}`,
      ),
    );
    found ??= own;
    const other = own.findIndex((call, k) => call.step !== found![k]?.step || call.past !== found![k]?.past);
    if (other >= 0)
      refuse(
        'the same forward calls in every file',
        `step ${own[other]!.step} from position ${own[other]!.past} of sequence ${own[other]!.sequence} in ${file}`,
      );
  }
  return found!;
}

/**
 * The values that the last forward call of a partial dump lacks: its producer ended on the way. Undefined for
 * a call that is whole.
 */
export async function lackingValues(
  dump: Pick<DumpView, 'manifest' | 'stream'>,
  calls: readonly DumpCall[],
  names: Iterable<string>,
): Promise<{ step: number; lacks: ReadonlySet<string> } | undefined> {
  if (dump.manifest.status !== 'partial') return undefined;
  const step = Math.max(...calls.map((call) => call.step));
  const lacks = new Set<string>();
  for (const name of names) {
    let isThere = false;
    for await (const _ of dump.stream(name, { step })) {
      isThere = true;
      break;
    }
    if (!isThere) lacks.add(name);
  }
  return lacks.size === 0 ? undefined : { step, lacks };
}

function callsOf(
  { sequence, position, step }: FileRows,
  sequences: readonly (readonly number[])[],
  refuse: (row: number) => never,
): DumpCall[] {
  const bySequence = sequences.map(() => [] as { step: number; past: number; end: number }[]);
  for (let row = 0; row < position.length; row++) {
    const calls = bySequence[sequence[row]!] ?? refuse(row);
    const last = calls.at(-1);
    if (position[row] !== (last?.end ?? 0)) refuse(row);
    if (last?.step === step[row]) last!.end++;
    else calls.push({ step: step[row]!, past: position[row]!, end: position[row]! + 1 });
  }
  return bySequence.flatMap((calls, sequence) =>
    calls.map(({ step, past, end }, index) => ({
      sequence,
      step,
      index,
      past,
      tokens: sequences[sequence]!.slice(past, end),
    })),
  );
}
