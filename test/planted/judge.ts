/** What `locate` says of a planted dump, and whether it is right. */
import type { DumpView } from '../../src/dump/dump-view.js';
import { formatLocate } from '../../src/locate/faults/format.js';
import type { KeptRuns } from '../../src/locate/faults/kept-runs.js';
import { locateDumps } from '../../src/locate/faults/locate.js';
import type { LocateReport } from '../../src/locate/faults/report.js';
import { tapPlace } from '../../src/locate/replay/tap-graph.js';
import type { KeptDump } from './kept-dump.js';
import type { DumpKind } from './kinds.js';
import type { ListedStepFault } from './plant-server.js';

/** What is true of a planted fault. */
export interface Planted {
  /** Where it first shows in F32. */
  tap: string;
  /**
   * Other values that the same alteration makes wrong by itself: the first where the dump does not hold
   * `tap`.
   */
  also?: readonly string[];
  /** Of continued calls: where it begins. */
  begins?: Pick<ListedStepFault, 'sequence' | 'position' | 'step'>;
}

/** One case of the suite. */
export interface Outcome {
  kind: string;
  /** Fault or program. */
  name: string;
  /**
   * Elements of the held values that differ from the unaltered model's: no fault counts that changes one
   * only.
   */
  changed: number;
  /** The first fault that the report names; null: it is silent. */
  named: string | null;
  /** Named first and rightly; of what must not be accused: nothing is named. */
  isRight: boolean;
  elapsedMs: number;
  /** Lines of the report in words. */
  lines: number;
  /** What is to be said where it is not right. */
  says: string;
  checkpoint?: string;
  /** False for what must not be accused. */
  isFault?: boolean;
}

/** Dumps of the unaltered model that a case is judged with. */
export interface Rights {
  /** The F32 reference. */
  reference: KeptDump;
  /** The unaltered model planted as the case is. */
  unaltered: KeptDump;
  /** What kinds with a noise run are judged with. */
  noise: KeptDump;
  /** Folder of the checkpoint. */
  model: string;
  /** What cases have in common. */
  kept: KeptRuns;
}

/** Elements that a fault has to change to count: one alone may be a tie that rounding turned. */
export const LEAST_CHANGED = 2;

/** Judges a dump of a kind; `planted` is null where nothing is wrong with it. */
export async function judgeDump(
  kind: DumpKind,
  name: string,
  dump: KeptDump,
  rights: Rights,
  planted: Planted | null,
): Promise<Outcome> {
  const begun = performance.now();
  const seen = kind.seen(name);
  const { elements, first } = await rights.unaltered.differing(dump, seen.keeps);
  const noise = kind.noise ? rights.noise.as() : undefined;
  // The unaltered model's run is both, which a folder of its own tells from a user's mistake.
  const view = dump.as(seen);
  const tested = { ...view, dir: `${view.dir} (tested)` };
  const report = await locate(rights, tested, kind, noise);
  const counts = planted !== null && elements >= LEAST_CHANGED;
  const isRight = counts ? namesFirst(report, planted, first, kind) : !report.found;
  return {
    kind: kind.name,
    name,
    changed: elements,
    named: report.firstFault ?? report.mismatch?.kind ?? null,
    isRight,
    elapsedMs: performance.now() - begun,
    lines: formatLocate(report).split('\n').length,
    says: isRight ? '' : explain(report, planted, first),
  };
}

async function locate(
  { reference, model, kept }: Rights,
  tested: DumpView,
  { withModel }: DumpKind,
  noise: DumpView | undefined,
): Promise<LocateReport> {
  return await locateDumps(reference.as(), tested, withModel ? model : undefined, {
    threads: 1,
    explain: false,
    kept,
    ...(noise === undefined ? {} : { noise }),
  });
}

/**
 * True where the report names the op at fault first: the altered op itself, or where its value is not held
 * the span that it lies in.
 */
function namesFirst(
  { found, firstFault, kinds, ops }: LocateReport,
  { tap, also = [], begins }: Planted,
  first: string | null,
  { seen }: DumpKind,
): boolean {
  const [kind] = kinds;
  const op = ops.find((each) => each.tap === firstFault);
  if (!found || kind === undefined || op === undefined) return false;
  const isOfKind = kind.kind === tapPlace(op.tap).suffix;
  const beginsRight =
    begins === undefined ||
    (kind.begins?.sequence === begins.sequence &&
      kind.begins.position === begins.position &&
      kind.begins.step === begins.step);
  // Where all values are held the tap is the answer; else the first value that differs, and the altered op
  // lies before it.
  const isRightPlace =
    seen('').keeps === undefined
      ? firstFault === tap
      : firstFault === first &&
        // a convolution's `:lead` is its own output over the rows that go before the first token
        (firstFault === tap.replace(/:lead$/, '') ||
          also.includes(firstFault!) ||
          op.inside.some((each) => tapPlace(each).suffix === tapPlace(tap).suffix));
  return isOfKind && beginsRight && isRightPlace;
}

function explain(report: LocateReport, planted: Planted | null, first: string | null): string {
  const op = report.ops.find(({ tap }) => tap === (planted?.tap ?? report.firstFault));
  const figures =
    op === undefined ? '' : ` (own error ${op.local?.toExponential(1)}, limit ${op.limit?.toExponential(1)})`;
  const got = report.mismatch?.sentence ?? report.firstFault ?? 'silence';
  return planted === null
    ? `accused: ${got}${figures}`
    : `${planted.tap} first differs at ${first}, got ${got}${figures}`;
}
