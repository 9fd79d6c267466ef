import { type Cell, formatError, formatShare, rendered, styled, textTable } from '../../text-table.js';
import type { LogitsCheckReport, LogitsNonFinite, TokensCheck, TopToken } from '../logits/check.js';
import type { LeftOut } from '../logits/left-out.js';
import { sideCounts, unpairedNonFiniteLines } from './non-finite.js';

/** The report for people: what was compared, the likeliest tokens side by side, the metrics, the verdict. */
export function formatLogitsCheck(report: LogitsCheckReport, color = false): string {
  const sections = [
    headLines(report),
    topLines(report, color),
    metricLines(report),
    verdictLines(report, color),
  ];
  return rendered(sections);
}

function headLines({
  reference,
  tested,
  tokens,
  vocabulary,
  rows,
  values,
  notes,
}: LogitsCheckReport): string[] {
  const lines = [`${reference.name} (reference) against ${tested.name}`, describeTokens(tokens)];
  const larger = Math.max(reference.vocabulary, tested.vocabulary);
  if (rows > 0)
    lines.push(
      `${rows === 1 ? 'last token' : `${rows} rows`}, ${vocabulary} ${values}${rows === 1 ? '' : ' each'}`,
    );
  if (larger !== vocabulary)
    lines.push(
      `note: the ${reference.vocabulary === larger ? 'reference' : 'tested side'} has ${larger} logits a token, the other a trimmed vocabulary of ${vocabulary}: the first ${vocabulary} are compared`,
    );
  lines.push(...notes.map((note) => `note: ${note}`));
  return lines;
}

function describeTokens({ outcome, reference, tested, first }: TokensCheck): string {
  if (outcome === 'same') return `tokens: the same ${reference}`;
  if (outcome === 'unknown') {
    const without =
      reference === null
        ? tested === null
          ? 'both sides come'
          : 'the reference comes'
        : 'the tested side comes';
    return `tokens: not compared, ${without} without`;
  }
  const { sequence, position, reference: x, tested: y } = first!;
  const where = sequence === 0 ? `position ${position}` : `sequence ${sequence} position ${position}`;
  return `tokens: DIFFERENT from ${where} on (${x ?? 'none'} and ${y ?? 'none'}; ${reference} and ${tested} in all)`;
}

function topLines({ top, rows, values }: LogitsCheckReport, color: boolean): string[] {
  if (top === null) return [];
  const strong = (text: string): Cell => ({ text, style: 'strong' });
  const cells = (token: TopToken | undefined): string[] =>
    token === undefined ? ['', ''] : [String(token.id), token.logit.toFixed(4)];
  const lost = (['reference', 'tested'] as const).filter((side) => top[side].length === 0);
  const lines = (lost.includes('reference') ? top.tested : top.reference).map((_, rank) => {
    const [reference, tested] = [top.reference[rank], top.tested[rank]];
    if (reference === undefined || tested === undefined)
      return [String(rank + 1), ...cells(reference), ...cells(tested), ''];
    const isSame = reference.id === tested.id;
    const shared = top.tested.some(({ id }) => id === reference.id);
    const mark: Cell = isSame
      ? { text: '' }
      : { text: shared ? 'other rank' : 'not in the tested top', style: 'bad' };
    return [String(rank + 1), ...cells(reference), ...cells(tested), mark];
  });
  const unit = values === 'logits' ? 'logit' : 'log p';
  const head = ['', 'reference', unit, 'tested', unit, ''].map(strong);
  const title = `likeliest tokens${rows > 1 ? ' of the last row' : ''}`;
  const none = lost.map(
    (side) =>
      `the ${side === 'reference' ? 'reference' : 'tested side'} has none: NaN or +Infinity is among its logits, or all are -Infinity`,
  );
  return [title, ...(lines.length === 0 ? [] : textTable([head, ...lines], 'rrrrrl', color)), ...none];
}

function metricLines({ metrics, referenceVariance, logits, rows }: LogitsCheckReport): string[] {
  if (metrics === null || logits === null || referenceVariance === null) return [];
  const { nmse, nmseVariance, snrDb, mse, mae, maxAbs } = metrics;
  const least = logits.tokens.reduce(
    (most, { margin }) => Math.min(most, margin.reference),
    Number.POSITIVE_INFINITY,
  );
  const change = logits.tokens.reduce(
    (most, { probabilityChange: change }) =>
      Number.isNaN(change) || Math.abs(change) > Math.abs(most) ? change : most,
    0,
  );
  const many = rows > 1;
  const lines: [string, string][] = [
    ['MSE', formatValue(mse)],
    ['reference variance', formatValue(referenceVariance)],
    ['NMSE (MSE / variance)', `${formatValue(nmseVariance)}  ${decibels(nmseVariance)}`],
    ['NMSE (error / energy)', `${formatValue(nmse)}  ${decibels(nmse)} (SNR ${snrDb.toFixed(2)} dB)`],
    ['max abs error', formatValue(maxAbs)],
    ['mean abs error', formatValue(mae)],
    [
      'KL (reference to tested)',
      many
        ? `mean ${formatError(logits.klMean)}, max ${formatError(logits.klMax)} nats`
        : `${formatError(logits.klMean)} nats`,
    ],
    ['top-1 agreement', formatShare(logits.top1Agreement)],
    ['top-10 shared', formatShare(logits.topAgreement)],
    [many ? 'least top-1 margin' : 'top-1 margin', `${formatValue(least)} of the reference`],
    [many ? 'largest Δp' : 'Δp', `${change.toExponential(2)} of the reference's top token`],
  ];
  return textTable(lines, 'll', false);
}

function verdictLines(report: LogitsCheckReport, color: boolean): string[] {
  const { pass, band, failAbove, rows, nonFinite, metrics, partial, otherNonFinite, leftOut } = report;
  const word = styled(pass ? 'PASS' : 'FAIL', pass ? 'good' : 'bad', color);
  if (rows === 0) return [`${word}  other tokens were fed, so the logits were not compared`];
  const left = nonFinite === null ? '' : nonFiniteWords(nonFinite, metrics!.elements);
  const others =
    otherNonFinite === null ? [] : unpairedNonFiniteLines(otherNonFinite, ' beside the logits compared');
  if (band === null)
    return [...others, `${word}  ${left === '' ? 'no finite logit is left to judge' : left}`];
  const cut =
    partial.length === 0
      ? ''
      : `; ${partial.join(' and ')} ${partial.length === 1 ? 'is' : 'are'} partial: a run that did not finish does not pass`;
  const words = `${band}; NMSE (MSE / variance) may be at most ${failAbove}`;
  const share = leftOut === null ? '' : leftOutWords(leftOut);
  const verdict =
    leftOut?.isPadding === false
      ? `only ${share}: more than padding; what was compared: ${words}`
      : `${words}${leftOut === null ? '' : `; ${share}`}`;
  return [...(left === '' ? [] : [left]), ...others, `${word}  ${verdict}${cut}`];
}

function leftOutWords({ side, logits, compared, probability }: LeftOut): string {
  const of = `${logits} ${logits === 1 ? 'logit' : 'logits'} of the ${side === 'reference' ? 'reference' : 'tested side'}`;
  return `${formatShare(compared)} of the vocabulary compared (${of} left out, with ${formatShare(probability)} of its probability)`;
}

/** What a reader must know about logits that are not finite. */
function nonFiniteWords(found: LogitsNonFinite, elements: number): string {
  const { counted, allowed, masked, first } = found;
  const of = `of ${elements} pairs of logits`;
  if (counted > 0) {
    const where =
      first === null
        ? ''
        : `, first ${first.position < 0 ? '' : `at ${first.sequence === 0 ? '' : `sequence ${first.sequence} `}position ${first.position}, `}token ${first.id}: ${first.reference} and ${first.tested}`;
    return `NOT FINITE: ${counted} ${of} (${sideCounts(found)})${where}`;
  }
  const parts = [
    ...(allowed > 0 ? [`${allowed} allowed`] : []),
    ...(masked > 0 ? [`${masked} masked, equal`] : []),
  ];
  return `not finite: ${parts.join(', ')} ${of} (${sideCounts(found)}); errors are over the finite ones`;
}

function formatValue(value: number): string {
  return value === 0 || !Number.isFinite(value) ? String(value) : value.toExponential(4);
}

function decibels(nmse: number): string {
  return nmse === 0 ? '-Infinity dB' : `${(10 * Math.log10(nmse)).toFixed(2)} dB`;
}
