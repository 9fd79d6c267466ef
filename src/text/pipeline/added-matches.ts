import type { AddedToken } from '../added-tokens.js';
import type { Normalize } from './normalizer.js';

/** A piece of a text: an added token, or text that lies between. */
export type Piece = { token: AddedToken } | { text: string; isFirst: boolean };

const WORD = '[\\p{Alphabetic}\\p{M}\\p{Nd}\\p{Pc}\\p{Join_Control}]';
const ENDS_WITH_WORD = new RegExp(`${WORD}$`, 'u');
const STARTS_WITH_WORD = new RegExp(`^${WORD}`, 'u');

interface TrieNode {
  next: Map<string, TrieNode>;
  token?: AddedToken;
}

/**
 * Finds added tokens in a text, first those that are looked for in it as it stands, then the others in what
 * the normalizer makes of the rest.
 */
export function addedMatcher(
  tokens: readonly AddedToken[],
  normalize: Normalize | undefined,
): (text: string) => Piece[] {
  const plain = trie(tokens.filter(({ normalized }) => !normalized).map((token) => [token.content, token]));
  const others = trie(
    tokens
      .filter(({ normalized }) => normalized)
      .map((token) => [normalize === undefined ? token.content : normalize(token.content), token]),
  );
  return (text) =>
    find(plain, text, true).flatMap((piece) => {
      if ('token' in piece) return [piece];
      const normal = normalize === undefined ? piece.text : normalize(piece.text);
      return find(others, normal, piece.isFirst);
    });
}

function trie(entries: readonly (readonly [string, AddedToken])[]): TrieNode {
  const root: TrieNode = { next: new Map() };
  for (const [content, token] of entries) {
    if (content === '') continue;
    let node = root;
    for (let at = 0; at < content.length; at++) {
      const unit = content[at]!;
      const next = node.next.get(unit) ?? { next: new Map() };
      node.next.set(unit, next);
      node = next;
    }
    node.token ??= token;
  }
  return root;
}

/** The leftmost matches, of those that begin together the longest. */
function find(root: TrieNode, text: string, isFirst: boolean): Piece[] {
  const pieces: Piece[] = [];
  let done = 0;
  const textUntil = (end: number): void => {
    if (end > done) pieces.push({ text: text.slice(done, end), isFirst: isFirst && done === 0 });
  };
  for (let at = 0; at < text.length; ) {
    const match = longest(root, text, at);
    if (match === undefined) {
      at++;
      continue;
    }
    const { token, end } = match;
    const start = at;
    at = end;
    const [before, after] = [text.slice(0, start), text.slice(end)];
    if (token.single_word && (ENDS_WITH_WORD.test(before) || STARTS_WITH_WORD.test(after))) continue;
    const blanksBefore = token.lstrip ? start - before.search(/\p{White_Space}*$/u) : 0;
    const blanksAfter = token.rstrip ? (/^\p{White_Space}*/u.exec(after)?.[0].length ?? 0) : 0;
    textUntil(Math.max(done, start - blanksBefore));
    pieces.push({ token });
    done = end + blanksAfter;
  }
  textUntil(text.length);
  return pieces;
}

function longest(
  root: TrieNode,
  text: string,
  start: number,
): { token: AddedToken; end: number } | undefined {
  let found: { token: AddedToken; end: number } | undefined;
  let node: TrieNode | undefined = root;
  for (let at = start; at < text.length; at++) {
    node = node.next.get(text[at]!);
    if (node === undefined) break;
    if (node.token !== undefined) found = { token: node.token, end: at + 1 };
  }
  return found;
}
