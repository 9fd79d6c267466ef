/** What everything that compares two dumps does first: which of them is the reference, and their shapes. */
import type { DumpView } from '../../dump/dump-view.js';
import type { TapSpec } from '../../dump/format.js';
import { fitDumps, isWithoutConfig } from '../../dump/names/fitted-dump.js';
import { badArgument } from '../../errors.js';
import type { Unpaired } from '../report.js';

/** Writes the reference; every other program is measured by it. */
const REFERENCE_PROGRAM = 'transformers';

/** Where a side of a comparison comes from. */
export interface Origin {
  path: string;
  /** `reference`: transformers itself wrote it; `port`: another program; undefined: neither is known. */
  side: 'reference' | 'port' | undefined;
  /** What it is, for a message, e.g. `an import of llama.cpp`. */
  what: string;
}

/** Where a dump comes from. */
export function originOf({ dir, manifest }: Pick<DumpView, 'dir' | 'manifest'>): Origin {
  const { name, importedBy } = manifest.producer;
  const isReference = name === REFERENCE_PROGRAM;
  return {
    path: dir,
    side:
      importedBy === undefined ? (isReference ? 'reference' : undefined) : isReference ? undefined : 'port',
    what: importedBy === undefined ? `a dump of ${name}` : `an import of ${name}`,
  };
}

/**
 * Throws `BAD_ARGUMENT` for a port's values in the place of the reference with transformers' own as the
 * tested side. Two ports, or two dumps of one program, may stand in any order.
 *
 * @param command the command that compares them, for the message; `options` follow its two paths.
 */
export function requireReferenceFirst(
  command: string,
  first: Origin | undefined,
  second: Origin | undefined,
  options = '',
): void {
  if (first?.side !== 'port' || second?.side !== 'reference') return;
  throw badArgument(
    command,
    'the reference first',
    `${first.what} (${first.path}) and then ${second.what}: swap them (zayascope ${command} ${second.path} ${first.path}${options}), other options as they are`,
  );
}

/**
 * Two dumps as they are to be compared: one imported without a config is seen in the shapes of the other
 * ({@link fitDumps}).
 *
 * @param model taps as the model makes them, where it is at hand.
 * @throws as {@link requireReferenceFirst}: errors would be measured by the wrong side.
 */
export function sideBySide(
  command: string,
  reference: DumpView,
  tested: DumpView,
  model: readonly TapSpec[] = [],
): [reference: DumpView, tested: DumpView] {
  requireReferenceFirst(command, originOf(reference), originOf(tested));
  return fitDumps(reference, tested, model);
}

/** Says which taps cannot be compared because a side was imported without the model's config. */
export function withoutConfigNotes(
  reference: DumpView,
  tested: DumpView,
  unpaired: readonly Unpaired[],
): string[] {
  const sides = [reference, tested].filter(isWithoutConfig);
  const taps = unpaired.filter(({ tap, side, rows }) => tap !== null && side === 'both' && rows === 0);
  if (sides.length === 0 || taps.length === 0) return [];
  const are = taps.length === 1 ? '1 value has' : `${taps.length} values have`;
  return [
    `${are} no partner of the same shape, first ${taps[0]!.tap}, and ${sides.map(({ dir }) => dir).join(' and ')} ${sides.length === 1 ? 'was' : 'were'} imported without the model's config: nothing is said of them. Import again with --config config.json.`,
  ];
}
