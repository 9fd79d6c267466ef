/** Kinds of op at fault, with what takes their errors away. */
import type { DumpView } from '../../../dump/dump-view.js';
import type { Policy } from '../../../graph/policy.js';
import { explainStructures } from '../../causes/explain.js';
import { mixedAlone } from '../../causes/sequences/alone.js';
import { explainSequences } from '../../causes/sequences/explain.js';
import { type KindInput, locatedKinds } from '../kinds.js';
import type { OwnErrorHooks } from '../own-errors.js';
import type { LocatedOp, LocateReport } from '../report.js';
import type { PolicyRunners } from '../runners.js';
import { explainChoices } from './choices.js';

/** What is recomputed to explain. */
export interface ExplainInput {
  /** Undefined: nothing is recomputed. */
  runners: PolicyRunners | undefined;
  base: Policy;
  reference: DumpView;
  tested: DumpView;
  holds: (name: string) => boolean;
  faults: readonly LocatedOp[];
  /** Only the two dumps are at hand. */
  isAlone: boolean;
  run: OwnErrorHooks;
}

/** Dtypes and forms of ops are tried first, then sequences that were mixed, then structures. */
export async function explainKinds(
  input: KindInput,
  { runners, base, reference, tested, holds, faults, isAlone, run }: ExplainInput,
): Promise<Pick<LocateReport, 'kinds' | 'causes' | 'notes'>> {
  const kinds = locatedKinds(input);
  const [first] = kinds;
  if (isAlone && first !== undefined) {
    const mixed = await mixedAlone(reference, tested, first.worst, first.limit);
    const explained = mixed === null ? [] : ([[first.kind, [{ sentence: mixed, taps: null }]]] as const);
    return { kinds: locatedKinds({ ...input, explained: new Map(explained) }), causes: [], notes: [] };
  }
  if (runners === undefined || first === undefined) return { kinds, causes: [], notes: [] };
  const { found: explained, notes } = await explainChoices(
    { runners, base, holds },
    ...([tested, kinds, faults, run('trying explanations')] as const),
  );
  const done = new Set(
    [...explained.values()].flat().flatMap(({ taps, isPart }) => (isPart ? [] : [...taps])),
  );
  const open = faults.filter(({ tap }) => !done.has(tap));
  const kindsOf = (ops: readonly LocatedOp[]) => locatedKinds({ ...input, faults: ops });
  const batched = await explainSequences({
    ...{ runners, base, tested, holds, begins: input.begins },
    ...{ faults: open, kinds: kindsOf(open) },
  });
  const mixed = new Set(batched.causes.flatMap((cause) => cause.taps));
  const rest = open.filter(({ tap }) => !mixed.has(tap));
  const structures = await explainStructures({
    ...{ runners, base, tested, holds, begins: input.begins },
    ...{ faults: rest, kinds: kindsOf(rest) },
    choices: new Map([...explained].map(([kind, all]) => [kind, all.map(({ choices }) => choices)])),
    ...run('trying causes'),
  });
  const causes = [...batched.causes, ...structures.causes];
  // What explains the rest names the choices that it was found beside.
  const whole = new Set(causes.flatMap(({ taps }) => taps));
  const told = new Map(
    [...explained].map(([kind, all]) => [
      kind,
      all.flatMap((each) => {
        const taps = new Set([...each.taps].filter((tap) => !each.isPart || !whole.has(tap)));
        return taps.size === 0 ? [] : [{ ...each, taps }];
      }),
    ]),
  );
  return {
    kinds: locatedKinds({ ...input, explained: told, causes, unknown: structures.unknown }),
    causes,
    notes: [...notes, ...batched.notes, ...structures.notes],
  };
}
