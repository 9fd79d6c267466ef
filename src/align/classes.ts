/** Values of one side that are the same value: the same elements, or a copy of them. One stands for all. */
import { quantileDistance } from './distance.js';
import type { SideEdges } from './edges.js';
import type { SideValue, SideValues } from './values.js';

/** Values of one side that are one. */
export interface ValueClass {
  /** Its place among the classes of its side. */
  id: number;
  /** In order of execution; the first stands for all. */
  members: SideValue[];
  /** Classes that went directly into it, and those that it went into. Empty where edges are not known. */
  parents: Set<number>;
  children: Set<number>;
}

/** All values of one side. */
export interface Side {
  classes: ValueClass[];
  /** False where the dump does not say what went into what. */
  hasEdges: boolean;
  /** Silent values too, which join what they lie between: by tap index, the class or what feeds it. */
  ofTap: ReadonlyMap<number, number>;
  edges: SideEdges;
}

/** A copy in F16 or BF16 is still a copy. */
const AS_COPIED = 1e-4;

/** Finds classes and their edges; edges run through values that are silent. */
export function classesOf({ values }: SideValues, edges: SideEdges): Side {
  const classes: ValueClass[] = [];
  const ofTap = new Map<number, number>();
  const byKey = new Map<string, ValueClass>();
  for (const value of values) {
    const copied = edges.nodes.get(value.index)?.copyOf;
    const original = copied === undefined ? undefined : classes[ofTap.get(copied) ?? -1];
    const known =
      byKey.get(value.key) ?? (original !== undefined && isCopy(original, value) ? original : undefined);
    const own = known ?? { id: classes.length, members: [], parents: new Set(), children: new Set() };
    if (known === undefined) classes.push(own);
    if (!byKey.has(value.key)) byKey.set(value.key, own);
    own.members.push(value);
    ofTap.set(value.index, own.id);
  }
  const { parents } = edges;
  if (parents === undefined) return { classes, hasEdges: false, ofTap, edges };
  for (const to of classes)
    for (const { index } of to.members)
      for (const from of heard(index, parents, ofTap))
        if (from !== to.id) {
          to.parents.add(from);
          classes[from]!.children.add(to.id);
        }
  return { classes, hasEdges: true, ofTap, edges };
}

function isCopy({ members }: ValueClass, value: SideValue): boolean {
  const [first] = members as [SideValue];
  return (
    first.data.length === value.data.length && quantileDistance(first.quantiles, value.quantiles) < AS_COPIED
  );
}

/** Classes that feed a tap, through taps that are in none. */
function heard(
  index: number,
  parents: readonly (readonly number[])[],
  ofTap: ReadonlyMap<number, number>,
): Set<number> {
  const found = new Set<number>();
  const seen = new Set<number>();
  const waiting = [...parents[index]!];
  while (waiting.length > 0) {
    const next = waiting.pop()!;
    if (seen.has(next)) continue;
    seen.add(next);
    const own = ofTap.get(next);
    if (own === undefined) waiting.push(...parents[next]!);
    else found.add(own);
  }
  return found;
}

/** The nearest classes that `isKnown` says yes to, going `parents` or `children` from one. */
export function nearest(
  { classes }: Pick<Side, 'classes'>,
  start: number,
  way: 'parents' | 'children',
  isKnown: (id: number) => boolean,
): Set<number> {
  const found = new Set<number>();
  const seen = new Set<number>([start]);
  const waiting = [...classes[start]![way]];
  while (waiting.length > 0) {
    const next = waiting.pop()!;
    if (seen.has(next)) continue;
    seen.add(next);
    if (isKnown(next)) found.add(next);
    else waiting.push(...classes[next]![way]);
  }
  return found;
}

/** Every class that a class was computed from. */
export function ancestors({ classes }: Pick<Side, 'classes'>, start: number): Set<number> {
  const seen = new Set<number>();
  const waiting = [...classes[start]!.parents];
  while (waiting.length > 0) {
    const next = waiting.pop()!;
    if (seen.has(next)) continue;
    seen.add(next);
    waiting.push(...classes[next]!.parents);
  }
  return seen;
}
