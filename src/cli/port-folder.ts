import { mkdir, readdir, realpath } from 'node:fs/promises';
import { dirname, join, resolve, sep } from 'node:path';
import { describePlace } from '../describe-place.js';
import { unmet, ZayascopeError } from '../errors.js';
import { pathExists } from '../regular-file.js';
import { writeTextAtomically } from '../weights/atomic-file.js';

/** Tells the folder of an earlier journey, whose files may be replaced. */
const MARK = 'journey.json';

/** What a journey writes into its folder. */
export const JOURNEY_FILES = {
  dump: 'dump',
  reference: 'reference',
  report: 'report.html',
  config: 'config.json',
  tokens: 'tokens.json',
} as const;

/**
 * Makes the folder that a journey writes into. Nothing is written if it throws.
 *
 * @param inputs what the journey reads, which it must not replace.
 * @param replaced which of {@link JOURNEY_FILES} it writes; default all.
 * @throws `BAD_ARGUMENT` for a folder with anything else in it than an earlier journey, and where an input is
 * the folder or lies in what is replaced; `IO` where it cannot be made.
 */
export async function openJourneyFolder(
  out: string,
  inputs: readonly string[],
  replaced: readonly string[] = Object.values(JOURNEY_FILES),
): Promise<void> {
  const own = await realPath(out);
  for (const input of inputs) {
    const path = await realPath(input);
    const place = replaced.find((name) => isWithin(path, join(own, name)));
    if (path === own || place !== undefined)
      throw refusal(
        `another folder than that of its inputs as --out, got one that would replace ${input}`,
        out,
      );
  }
  const entries = await listFolder(out);
  const known = new Set<string>([MARK, ...Object.values(JOURNEY_FILES)]);
  const isEarlier =
    entries.includes(MARK) || (await pathExists(join(out, JOURNEY_FILES.dump, 'manifest.json')));
  const foreign = isEarlier ? entries.find((entry) => !known.has(entry) && !isLeftOver(entry)) : entries[0];
  if (foreign !== undefined)
    throw refusal(
      `a new or empty folder as --out, or that of an earlier journey, got one with ${foreign}`,
      out,
    );
  await mkdir(out, { recursive: true });
  await writeTextAtomically('port', join(out, MARK), `${JSON.stringify({ writtenBy: 'zayascope port' })}\n`);
}

/** Locks and files that a killed step left. */
function isLeftOver(entry: string): boolean {
  return /\.(lock|partial|tmp)$/.test(entry);
}

async function listFolder(out: string): Promise<string[]> {
  try {
    return (await readdir(out)).sort();
  } catch (cause) {
    const { code } = cause as NodeJS.ErrnoException;
    if (code === 'ENOENT') return [];
    throw unmet('IO', 'port', 'a folder as --out', await describePlace(out), { where: out, cause });
  }
}

/** The path without links; of what does not exist yet, its parent's. */
async function realPath(path: string): Promise<string> {
  const whole = resolve(path);
  try {
    return await realpath(whole);
  } catch {
    const parent = dirname(whole);
    return parent === whole ? whole : join(await realPath(parent), whole.slice(parent.length));
  }
}

function isWithin(path: string, folder: string): boolean {
  return path === folder || path.startsWith(`${folder}${sep}`);
}

function refusal(expectedAndGot: string, out: string): ZayascopeError {
  return new ZayascopeError('BAD_ARGUMENT', `port: expected ${expectedAndGot} (${out})`, { op: 'port' });
}
