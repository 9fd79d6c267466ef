import type { DumpView } from '../../dump/dump-view.js';
import type { Policy } from '../../graph/policy.js';
import type { OpenModelOptions } from '../../models/runtime/model.js';
import type { KeptRuns } from './kept-runs.js';

/** Options of both forms of `locate`. */
export interface LocateOptions extends Omit<OpenModelOptions, 'policy'> {
  /** The reference's own run in low precision: what is within its error is no fault. */
  noise?: DumpView;
  /**
   * Two dumps with a model: dtypes in which the tested program means to compute, in which its ops are
   * recomputed. Default: `pytorch-bf16` or `pytorch-f16` for a dump of transformers in that dtype, else
   * `f32`, whose ops round nothing.
   */
  recompute?: Policy | undefined;
  /**
   * False: known choices are not tried as explanations of faults, which takes most of the time where there
   * are some. Default true.
   */
  explain?: boolean;
  /**
   * Two dumps: what is the same from one call to the next, for callers that judge many dumps of a model.
   * Default: weights are loaded and limits measured in each call.
   */
  kept?: KeptRuns;
  /**
   * Smallest own error (energy NMSE) that counts as a fault, where none larger is measured to be usual.
   * Default 1e-13, or 1e-11 where nothing could be measured.
   */
  failAbove?: number;
  /**
   * Two dumps: names or patterns in the order in which values were computed, where neither dump knows it
   * (`DiffOptions.order`).
   */
  order?: readonly string[];
  /**
   * What is not finite in the same way on both sides is left out, instead of ending the silence. Default
   * false.
   */
  allowNonFinite?: boolean;
  /**
   * The map under which the tested dump is seen, as commands of the report spell it. Default: the dump has
   * the tap names.
   */
  mapArgument?: string;
  /** The policy as commands of the report spell it; default its name. */
  policyArgument?: string;
  /** Called with what is being done, and how far it is. */
  onProgress?: (what: string, done: number, total: number) => void;
  /** Stops with `CANCELLED`. */
  signal?: AbortSignal;
}
