/** Words in names of weights that say what a tensor is for, in most programs that have a name for it. */

/** Words of one group exclude each other: what is a gate is not what goes up. */
const GROUPS = [
  ['gate', 'up', 'down'],
  ['q', 'k', 'v', 'o'],
] as const;
type Word = (typeof GROUPS)[number][number] | 'norm';

const WORDS: Readonly<Record<string, readonly Word[]>> = {
  gate: ['gate'],
  up: ['up'],
  down: ['down'],
  query: ['q'],
  key: ['k'],
  value: ['v'],
  out: ['o'],
  output: ['o'],
  qkv: ['q', 'k', 'v'],
  kv: ['k', 'v'],
  q: ['q'],
  k: ['k'],
  v: ['v'],
  o: ['o'],
};

/** The words in what follows the number of a block: `{l}.self_attn.q_norm.weight` has q and norm. */
function wordsOf(name: string): Set<Word> {
  const [, tail = name] = /\{l\}\.(.*)$/.exec(name) ?? [];
  const parts = tail
    .toLowerCase()
    // The router of experts is no gate, whatever it is called.
    .replace('gate_inp', 'router')
    .replace(/\.(weight|bias)$/, '')
    .split(/[._]/);
  return new Set(
    parts.flatMap((part, k): readonly Word[] =>
      // What stands in the module of a norm, such as its temperature, is no norm.
      /norm$|^ln\d?$/.test(part)
        ? k === parts.length - 1
          ? ['norm']
          : []
        : (WORDS[part] ?? (/^w(?=[qkvo])/.test(part) ? (WORDS[part.slice(1)] ?? []) : [])),
    ),
  );
}

/**
 * What two names say of one tensor where they contradict each other: `[up, gate]`. A joined tensor has the
 * words of all its parts; names without such words contradict nothing.
 */
export function contradiction(tested: string, reference: readonly string[]): [string, string] | undefined {
  const own = wordsOf(tested);
  const others = new Set(reference.flatMap((name) => [...wordsOf(name)]));
  for (const group of GROUPS) {
    const [a, b] = [own, others].map((words) => group.filter((word) => words.has(word)));
    if (a!.length > 0 && b!.length > 0 && !a!.some((word) => b!.includes(word)))
      return [a!.join(' and '), b!.join(' and ')];
  }
  // "out" is in the names of final norms as well.
  const isMatrix = (words: Set<Word>) => !words.has('norm') && [...words].some((word) => word !== 'o');
  if (own.has('norm') && isMatrix(others)) return ['norm', [...others].join(' and ')];
  if (others.has('norm') && isMatrix(own)) return [[...own].join(' and '), 'norm'];
  return undefined;
}
