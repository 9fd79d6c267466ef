/** What both forms of `locate` measure, and how they conclude: what `judge` in `locate.ts` works on. */
import type { DumpView } from '../../../dump/dump-view.js';
import type { ModelSource } from '../../../models/layout/source.js';
import type { TapNoise } from '../../noise/noise-floor.js';
import type { OpEvidence } from '../evidence.js';
import type { KindInput } from '../kinds.js';
import type { LocalError } from '../local.js';
import type { LocateOpsOptions } from '../ops.js';
import type { LocateOptions } from '../options.js';
import type { OwnErrorHooks } from '../own-errors.js';
import type { LocatedOp, LocateReport } from '../report.js';
import type { PolicyRunners } from '../runners.js';
import type { Beginnings } from '../where/beginnings.js';

/** A call of `locate`. */
export interface LocateCall {
  reference: DumpView;
  /** As the caller spells it; undefined, as source and runners: none at hand. */
  model: string | undefined;
  source: ModelSource | undefined;
  runners: PolicyRunners | undefined;
  options: LocateOptions;
  /** Progress and cancelling of a part of the work. */
  run: OwnErrorHooks;
}

/** What begins every report. */
export type LocateHeader = Pick<
  LocateReport,
  'format' | 'version' | 'mode' | 'reference' | 'tested' | 'noise' | 'order'
>;

/** Values that cannot be judged, and a sentence that says why. */
export interface Unseen {
  taps: ReadonlySet<string>;
  sentence: string;
}

/** What is known once ops are judged. */
export interface Judged {
  /** What kinds of op are made of, with nothing explained. */
  kinds: KindInput;
  ops: readonly LocatedOp[];
  final: LocateReport['final'];
  unseen: Unseen | null;
}

/** What a form says of its own; what it leaves out is empty in the report. */
export type Conclusion = Pick<
  LocateReport,
  'recomputed' | 'found' | 'kinds' | 'causes' | 'routing' | 'notes'
> &
  Partial<
    Pick<
      LocateReport,
      'otherFile' | 'unjudged' | 'unpairedNonFinite' | 'unfit' | 'choices' | 'bisect' | 'floor'
    >
  >;

/** What one form has measured. */
export interface Measured {
  header: LocateHeader;
  /** By tap, in execution order. */
  evidence: ReadonlyMap<string, OpEvidence>;
  judging: LocateOpsOptions;
  /** Own errors of what is judged. */
  local: ReadonlyMap<string, LocalError>;
  noiseByTap: TapNoise[] | null;
  /** Energy NMSE of the last value under policy f32; null where that was not run. */
  floorNmse: (final: string) => number | null;
  /** Command line of the next step for an op. */
  next: (tap: string) => string;
  /** What cannot be judged after all. */
  unseen: (ops: readonly LocatedOp[]) => Promise<Unseen | null>;
  /** Where the errors of ops that fail begin. */
  begin: (failing: readonly LocatedOp[]) => Promise<Beginnings>;
  conclude: (judged: Judged) => Promise<Conclusion>;
}
