/** Values that every block has: what was found in some blocks says which value it is in another. */
import type { ValueClass } from '../classes.js';

/** A name without its block's number. */
interface Kind {
  key: string;
  number: number;
}

/** Which number of the tested program's names stands for which block, for one value of both sides. */
interface Rule {
  from: string;
  /** number = factor * block + offset. */
  factor: number;
  offset: number;
}

/** Rules by the reference's kind of name. */
export class BlockRules {
  readonly #rules = new Map<string, Rule[]>();

  /** @param pairs names that belong together, without doubt. */
  constructor(pairs: readonly (readonly [tap: string, from: string])[]) {
    const points = new Map<string, { tap: string; from: string; at: Map<number, number> }>();
    for (const [tap, from] of pairs) {
      const [a, b] = [tapKind(tap), fromKind(from)];
      if (a === undefined || b === undefined) continue;
      const key = `${a.key}\n${b.key}`;
      const entry = points.get(key) ?? { tap: a.key, from: b.key, at: new Map<number, number>() };
      points.set(key, entry);
      entry.at.set(a.number, b.number);
    }
    for (const { tap, from, at } of points.values()) {
      const [first, second] = [...at];
      if (first === undefined || second === undefined) continue;
      const factor = (second[1] - first[1]) / (second[0] - first[0]);
      const offset = first[1] - factor * first[0];
      const isLine = [...at].every(([block, number]) => number === factor * block + offset);
      if (Number.isInteger(factor) && factor > 0 && isLine)
        this.#rules.set(tap, [...(this.#rules.get(tap) ?? []), { from, factor, offset }]);
    }
  }

  /** Whether what was found in other blocks says that two values belong together. */
  joins(reference: ValueClass, tested: ValueClass): boolean {
    const names = new Set(
      tested.members.flatMap(({ tap }) => {
        const kind = fromKind(tap.name);
        return kind === undefined ? [] : [`${kind.key} ${kind.number}`];
      }),
    );
    return reference.members.some(({ tap }) => {
      const kind = tapKind(tap.name);
      const rules = kind === undefined ? [] : (this.#rules.get(kind.key) ?? []);
      return rules.some(({ from, factor, offset }) => names.has(`${from} ${factor * kind!.number + offset}`));
    });
  }
}

/** `model.layers.3.mlp`: the first number that is a part of its own. */
function tapKind(name: string): Kind | undefined {
  const match = /(?<=\.|^)\d{1,5}(?=[.:]|$)/.exec(name);
  return match === null ? undefined : kindOf(name, match);
}

/** `Qcur-3#2`, `cache_k_l3 (view)`. */
function fromKind(name: string): Kind | undefined {
  const match = /(?<=-|_l)\d{1,5}(?=$|[#@ ])/.exec(name);
  return match === null ? undefined : kindOf(name, match);
}

function kindOf(name: string, { 0: digits, index }: RegExpExecArray): Kind {
  return { key: `${name.slice(0, index)}{l}${name.slice(index + digits.length)}`, number: Number(digits) };
}
