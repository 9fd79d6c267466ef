/** A name map of the pairs that were found: one rule for a value that every block has. */
import type { Transform } from '../dump/import/layout.js';
import { compileNameMap, type NameMap, type NameRule, type RuleEvidence } from '../dump/names/name-map.js';
import type { AlignedPair, Alignment } from './align-dumps.js';

/** Writes the map of an alignment; `taps` and `names` are all of both dumps. */
export function nameMapOf(
  alignment: Alignment,
  taps: readonly string[],
  names: readonly string[],
  evidence: NameMap['evidence'],
): NameMap {
  const groups = new Map<string, AlignedPair[]>();
  for (const pair of [...alignment.pairs, ...alignment.outcome]) {
    const { from, tap } = patternsOf(pair);
    const key = JSON.stringify([from, tap, pair.fit.layout, pair.fit.isPrefix]);
    groups.set(key, [...(groups.get(key) ?? []), pair]);
  }
  const rules: NameRule[] = [];
  for (const pairs of groups.values()) {
    const { from, tap } = patternsOf(pairs[0]!);
    // A rule for a single block says no more than the names do, and might say it of others.
    const isCommon = pairs.length > 1 && matchesOnly(ruleOf(pairs, from, tap, alignment), pairs, taps, names);
    if (isCommon) rules.push(ruleOf(pairs, from, tap, alignment));
    else
      for (const pair of pairs)
        rules.push(ruleOf([pair], literal(pair.tested.tap.name), pair.reference.tap.name, alignment));
  }
  return { version: 2, name: 'aligned', rules, ignore: ['{rest}'], evidence };
}

/** Names with the block's number as `{l}`, where both have it. */
function patternsOf({ reference, tested }: AlignedPair): { from: string; tap: string } {
  const { name, block } = reference.tap;
  const from = literal(tested.tap.name);
  const plain = { from, tap: name };
  if (block === null || /[{}]/.test(name)) return plain;
  const tap = name.replace(new RegExp(`(?<=\\.)${block}(?=[.:]|$)`), '{l}');
  const common = from.replace(new RegExp(`(?<=-|_l)${block}(?=$|[#@ ])`), '{l}');
  return tap === name || common === from ? plain : { from: common, tap };
}

/** A pattern that a name matches itself: braces have a meaning there. */
function literal(name: string): string {
  return name.replaceAll(/[{}]+/g, '*');
}

function matchesOnly(
  rule: NameRule,
  pairs: readonly AlignedPair[],
  taps: readonly string[],
  names: readonly string[],
): boolean {
  const compiled = compileNameMap({ name: '', rules: [rule] });
  const known = new Set(taps);
  const found = names.flatMap((name) =>
    compiled.resolve(name, undefined).flatMap(({ tap }) => (known.has(tap) ? [`${name}\n${tap}`] : [])),
  );
  const meant = new Set(pairs.map(({ reference, tested }) => `${tested.tap.name}\n${reference.tap.name}`));
  return found.length === meant.size && found.every((each) => meant.has(each));
}

function ruleOf(pairs: readonly AlignedPair[], from: string, tap: string, alignment: Alignment): NameRule {
  const [{ fit, reference, tested }] = pairs as [AlignedPair];
  // Logits by role hold infinities that nothing explains.
  const isMasked = pairs.some(
    ({ pair, reference: { data } }) => pair.by !== 'role' && data.some((value) => !Number.isFinite(value)),
  );
  return {
    from,
    tap,
    layout: fit.layout.length > 0 ? fit.layout : undefined,
    scope: reference.tap.scope === 'step' || tested.tap.scope === 'step' ? ('step' as const) : undefined,
    prefix: fit.isPrefix ? (true as const) : undefined,
    masked: isMasked ? (true as const) : undefined,
    evidence: evidenceOf(pairs, alignment),
  };
}

function evidenceOf(pairs: readonly AlignedPair[], { reference, tested }: Alignment): RuleEvidence {
  const worst = pairs.reduce((a, b) => (b.fit.error > a.fit.error ? b : a));
  const closest = pairs.reduce((a, b) => ((b.pair.next?.error ?? 1e9) < (a.pair.next?.error ?? 1e9) ? b : a));
  const { next } = closest.pair;
  const isOwn = next?.reference === closest.pair.reference;
  return {
    by:
      (['role', 'neighbours', 'tokens'] as const).find((by) => pairs.some(({ pair }) => pair.by === by)) ??
      'elements',
    values: pairs.length,
    error: rounded(worst.fit.error),
    next:
      next === undefined
        ? undefined
        : {
            ...(isOwn
              ? { from: tested.classes[next.tested]!.members[0]!.tap.name }
              : { tap: reference.classes[next.reference]!.members[0]!.tap.name }),
            error: rounded(next.error),
          },
  };
}

/** Three digits; JSON has no infinity. */
export function rounded(error: number): number | null {
  return Number.isFinite(error) ? Number(error.toPrecision(3)) : null;
}

/** A layout in words. */
export function layoutWords(layout: readonly Transform[], isPrefix: boolean): string {
  const words = layout.map((step) => {
    switch (step.op) {
      case 'permute':
        return `axes ${step.axes.join(', ')}`;
      case 'lastTokens':
        return 'states in front left out';
      case 'beforeTokens':
        return 'states in front';
      case 'visible':
        return 'padding cut';
      case 'firstColumns':
      case 'lastColumns':
        return step.op === 'firstColumns' ? 'first columns' : 'last columns';
      case 'split':
        return `${step.parts} heads split`;
      default:
        return `${step.op}d by ${'parts' in step ? step.parts : ''}`.replace('eed', 'ed');
    }
  });
  return [...words, ...(isPrefix ? ['trimmed'] : [])].join('; ');
}
