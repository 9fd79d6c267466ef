import { describeValue } from '../../describe-value.js';
import type { BpeDefinition } from './tokenizer-kind.js';

/**
 * Scores that make llama.cpp's SentencePiece tokenizer join the same pairs in the same order: it joins the
 * two neighbours that make the token of the highest score, whichever two they are, while merges rank pairs.
 * Both are the same where each split of a token into two is a merge, and the merges that make one token stand
 * together; so it is in files that were converted from SentencePiece.
 *
 * @returns scores by id, or what has no such form, as the end of a sentence.
 */
export function mergedScores({ tokens, vocabulary, merges }: BpeDefinition): number[] | string {
  const ranks = new Map<string, { first: number; last: number; count: number }>();
  for (const [rank, [left, right]] of merges.entries()) {
    const made = ranks.get(left + right);
    if (made === undefined) ranks.set(left + right, { first: rank, last: rank, count: 1 });
    else {
      made.last = rank;
      made.count++;
    }
  }
  for (const [token, { first, last, count }] of ranks)
    if (last - first + 1 !== count) return `merges for ${describeValue(token)} that stand apart`;
  const pairs = new Set(merges.map(([left, right]) => `${left} ${right}`));
  for (const token of vocabulary.keys()) {
    const letters = [...token];
    for (let at = 1; at < letters.length; at++) {
      const left = letters.slice(0, at).join('');
      const right = letters.slice(at).join('');
      const isSymbol = (part: string, length: number) => length === 1 || vocabulary.has(part);
      if (!isSymbol(left, at) || !isSymbol(right, letters.length - at) || pairs.has(`${left} ${right}`))
        continue;
      return `${describeValue(token)}, which ${describeValue(left)} and ${describeValue(right)} make without a merge`;
    }
  }
  return tokens.map((token) => {
    const made = token === undefined ? undefined : ranks.get(token);
    return made === undefined ? 0 : -made.first;
  });
}
