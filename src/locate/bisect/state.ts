import { createHash } from 'node:crypto';
import { badArgument } from '../../errors.js';
import { jsonProblem } from '../../field-check.js';
import { readRegularText } from '../../regular-file.js';
import { writeTextAtomically } from '../../weights/atomic-file.js';
import { ioError } from '../../weights/file-access.js';

const FORMAT = 'zayascope-bisect-1';

/** Errors of runs that outlive the process, by their sets of bad sites. */
export interface BisectState {
  get(sites: readonly string[]): number | undefined;
  /** Remembers an error and writes the file: after a crash it holds all errors but at most the last. */
  set(sites: readonly string[], error: number): Promise<void>;
  /** Errors that were in the file. */
  readonly resumed: number;
}

/**
 * Opens the state of a bisect, or begins one where there is no file.
 *
 * @param file undefined: nothing is kept. @param problem everything that the errors depend on, in words that
 * compare.
 * @throws `BAD_ARGUMENT` for a file of another problem or one that is no state, `IO` for one that cannot be
 * read.
 */
export async function openBisectState(file: string | undefined, problem: unknown): Promise<BisectState> {
  const key = sha256(JSON.stringify(problem));
  const errors = file === undefined ? new Map<string, number>() : await load(file, key);
  return {
    resumed: errors.size,
    get: (sites) => errors.get(setId(sites)),
    async set(sites, error) {
      errors.set(setId(sites), error);
      if (file === undefined) return;
      const state = { format: FORMAT, problem: key, errors: Object.fromEntries([...errors].map(asJson)) };
      await writeTextAtomically('bisect', file, `${JSON.stringify(state, undefined, 1)}\n`);
    },
  };
}

async function load(file: string, key: string): Promise<Map<string, number>> {
  let text: string;
  try {
    text = await readRegularText(file);
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code === 'ENOENT') return new Map();
    throw ioError('bisect', 'a readable state', file, cause);
  }
  const state = parse(text);
  if (state === undefined) throw badArgument('bisect', 'the state of a bisect', 'another file', file);
  if (state.problem !== key)
    throw badArgument(
      'bisect',
      'a state of the same model, tokens, policies, reference and device',
      'that of another bisect',
      file,
    );
  return new Map(Object.entries(state.errors).map(([id, error]) => [id, Number(error)]));
}

function parse(text: string): { problem: string; errors: Record<string, number | string> } | undefined {
  let json: unknown;
  try {
    if (jsonProblem(text) !== undefined) return undefined;
    json = JSON.parse(text);
  } catch {
    return undefined;
  }
  const { format, problem, errors } = (json ?? {}) as Record<string, unknown>;
  const isState =
    format === FORMAT &&
    typeof problem === 'string' &&
    typeof errors === 'object' &&
    errors !== null &&
    Object.values(errors).every(
      (error) => typeof error === 'number' || /^(NaN|Infinity)$/.test(String(error)),
    );
  return isState ? { problem, errors: errors as Record<string, number | string> } : undefined;
}

/** JSON has neither NaN nor Infinity. */
function asJson([id, error]: [string, number]): [string, number | string] {
  return [id, Number.isFinite(error) ? error : String(error)];
}

function setId(sites: readonly string[]): string {
  return sha256([...sites].sort().join('\n')).slice(0, 32);
}

function sha256(text: string): string {
  return createHash('sha256').update(text).digest('hex');
}
