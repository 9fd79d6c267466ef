/** Command lines that make a report's figures again. */
import type { DumpView } from '../../dump/dump-view.js';

/** A command line and what it does. */
export interface ReproduceCommand {
  what: string;
  command: string;
}

/** One argument as a POSIX shell reads it. */
export function shellArgument(text: string): string {
  return /^[\w@%+=:,./-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`;
}

/** What the report was made with. */
export interface ReproduceInput {
  reference: DumpView;
  tested: DumpView;
  noiseFloor: DumpView | null;
  /** Name or file of the map, as given. */
  map: string | null;
  /** File of the order of the taps, as given. */
  order: string | null;
  /** Path of the model, as given. */
  model: string | null;
  failAbove: number | null;
  allowNonFinite: boolean;
  title: string | null;
}

/**
 * Commands in the order in which one would run them: what made the dumps as far as they say, then the
 * comparisons.
 */
export function reproduceCommands(input: ReproduceInput): ReproduceCommand[] {
  const { reference, tested, noiseFloor, map, order, model, failAbove, allowNonFinite, title } = input;
  const dumps = [
    reference.dir,
    tested.dir,
    ...(map === null ? [] : ['--map', map]),
    ...(order === null ? [] : ['--order', order]),
  ];
  const allow = allowNonFinite ? ['--allow-nonfinite'] : [];
  const limit = [...(failAbove === null ? [] : ['--fail-above', String(failAbove)]), ...allow];
  const noise = noiseFloor === null ? [] : [noiseFloor.dir];
  const line = (...words: string[]): string => ['zayascope', ...words].map(shellArgument).join(' ');
  const made = [
    ['the reference', reference] as const,
    ['the tested dump', tested] as const,
    ...(noiseFloor === null ? [] : [['the noise floor', noiseFloor] as const]),
  ].flatMap(([what, dump]) => dumpCommand(what, dump, model));
  return [
    ...made,
    { what: 'every tap on the terminal', command: line('diff', ...dumps, ...limit, '--all') },
    {
      what: 'which op makes the error',
      command: line(
        'locate',
        ...dumps,
        ...(model === null ? [] : ['--model', model]),
        ...noise.flatMap((dir) => ['--noise', dir]),
        ...allow,
      ),
    },
    {
      what: 'this report',
      command: line(
        'report',
        ...dumps,
        ...noise.flatMap((dir) => ['--noise-floor', dir]),
        ...(model === null ? [] : ['--model', model]),
        ...limit,
        ...(title === null ? [] : ['--title', title]),
        '--out',
        'report.html',
      ),
    },
  ];
}

/** Token ids that fit on a command line. */
const FEW_TOKENS = 512;

/**
 * What made a dump: the command line that its producer recorded, or for one of ours the one that its manifest
 * amounts to.
 */
function dumpCommand(what: string, { dir, manifest }: DumpView, model: string | null): ReproduceCommand[] {
  const { producer, policy, selection, tier, sequences, backend } = manifest;
  if (typeof producer.command === 'string')
    return [{ what: `${what}, as its producer recorded`, command: producer.command }];
  const [sequence] = sequences;
  if (producer.name !== 'zayascope' || sequence === undefined) return [];
  const tokens = sequence.tokens;
  const feeds =
    sequences.length === 1 && tokens !== undefined && tokens.length > 0 && tokens.length <= FEW_TOKENS
      ? ['--tokens', tokens.join(',')]
      : ['--tokens-file', 'TOKENS.json'];
  const words = ['zayascope', 'capture', '--model', model ?? 'MODEL', ...feeds, '--policy', policy.name];
  if (backend.name !== 'cpu') words.push('--backend', backend.name);
  if (selection.taps !== '**') words.push('--taps', selection.taps);
  if (selection.positions !== 'all') words.push('--positions', selection.positions);
  if (tier !== 'full') words.push('--tier', tier);
  return [{ what, command: [...words, '--out', dir].map(shellArgument).join(' ') }];
}
