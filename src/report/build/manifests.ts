import { shortSelection } from '../../text-table.js';
import { knownTokens, sequenceLengths } from '../../dump/sequences.js';
import type { Manifest } from '../../dump/format.js';

/** Tokens of a sequence beyond this many are counted, not listed. */
const MAX_TOKENS = 4096;

/**
 * A manifest as JSON for reading: its taps are counted (the page lists them), long sequences are cut, and the
 * cut is said.
 */
export function manifestText(manifest: Manifest): string {
  const sequences = manifest.sequences.map(({ tokens, ...rest }) => ({
    ...rest,
    tokens:
      tokens === undefined || tokens.length <= MAX_TOKENS
        ? tokens
        : [...tokens.slice(0, MAX_TOKENS), `... and ${tokens.length - MAX_TOKENS} more`],
  }));
  const shown = { ...manifest, sequences, taps: `${manifest.taps.length} taps` };
  // Token ids and other lists of numbers stay on one line.
  return JSON.stringify(shown, null, 1).replaceAll(
    /\[\s*(-?[\d.]+(?:,\s*-?[\d.]+)*)\s*\]/g,
    (_, list: string) => `[${list.replaceAll(/\s+/g, ' ')}]`,
  );
}

/** A fact of both manifests. */
export interface ManifestFact {
  what: string;
  reference: string;
  tested: string;
}

/** The facts of two manifests that say whether they may be compared, and what may explain a difference. */
export function manifestFacts(reference: Manifest, tested: Manifest): ManifestFact[] {
  const facts: readonly (readonly [string, (manifest: Manifest) => unknown])[] = [
    ['status', ({ status, tier }) => `${status}, tier ${tier}`],
    ['created', ({ created }) => created],
    ['producer', ({ producer }) => producer.name],
    ['versions', ({ producer: { name: _, command: __, ...versions } }) => versions],
    ['policy', ({ policy }) => policy.name],
    ['backend', ({ backend }) => backend],
    ['model', ({ model: { name, type, dtype, layout } }) => ({ name, type, dtype, layout })],
    ['config', ({ model }) => model.configSha256 ?? 'not known'],
    ['weights', ({ model }) => model.weightsSha256 ?? 'not known'],
    ['selection', ({ selection }) => `taps ${shortSelection(selection.taps)}, positions ${selection.positions}`],
    ['taps', ({ taps }) => taps.length],
    [
      'sequences',
      ({ sequences }) =>
        `${sequences.length}, of ${sequenceLengths(sequences).join(', ')} ${knownTokens(sequences) === undefined ? 'positions' : 'tokens'}`,
    ],
    ['forward steps', ({ steps }) => steps],
  ];
  return facts.map(([what, of]) => ({ what, reference: show(of(reference)), tested: show(of(tested)) }));
}

function show(value: unknown): string {
  if (typeof value !== 'object' || value === null) return String(value);
  return Object.entries(value)
    .filter(([, entry]) => entry !== undefined)
    .map(([key, entry]) => `${key} ${typeof entry === 'object' ? JSON.stringify(entry) : entry}`)
    .join(', ');
}
