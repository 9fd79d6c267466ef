import type { CaptureProof, ChangingTaps } from '../../capture/prove.js';
import { formatCount } from '../format-number.js';
import { fields, table } from '../table.js';

/** What `capture --prove` prints, above a dump's summary or alone. */
export function formatProof({
  taps,
  tokens,
  logits,
  nonFinite,
  isDeterministic,
  isEqual,
  nodes,
  changing,
  runs,
}: CaptureProof): string {
  const lines = fields([
    ['taps', `${formatCount(taps)}, ${formatCount(tokens)} tokens`],
    ['nodes', `${formatCount(nodes.without)} without taps, ${formatCount(nodes.with)} with them`],
    ['logits', `${formatCount(logits)} compared, ${runs} runs`],
    ['proof', verdict(isDeterministic, isEqual, nonFinite)],
  ]);
  if (changing.length === 0) return lines;
  const rows = changing.map((each) => [
    names(each),
    each.isMinimal ? 'yes' : 'no',
    formatCount(each.differing),
    each.largest.toExponential(1),
  ]);
  return `${lines}\n\n${table([{ title: 'capturing' }, { title: 'minimal' }, { title: 'logits changed', align: 'right' }, { title: 'largest', align: 'right' }], rows)}`;
}

function verdict(isDeterministic: boolean, isEqual: boolean, nonFinite: number): string {
  if (!isDeterministic) return 'FAIL  two runs without taps differ: the device is not deterministic';
  if (!isEqual) return 'FAIL  capturing changes the logits';
  return nonFinite > 0
    ? `NOT FINITE  capturing changes no bit of the logits, but ${formatCount(nonFinite)} of them are NaN or infinite`
    : 'PASS  capturing changes no bit of the logits';
}

/** Names shown of a set; --json has all. */
const SHOWN = 3;

function names({ taps }: ChangingTaps): string {
  const rest = taps.length - SHOWN;
  return `${taps.slice(0, SHOWN).join(' ')}${rest > 0 ? ` and ${rest} more` : ''}`;
}
