import { diffDumps } from '../diff/diff.js';
import { type DiffReport, tapError } from '../diff/report.js';
import type { DumpView } from '../dump/dump-view.js';
import { blockCount, tapInputs } from './replay/tap-graph.js';

/** A value that the op where two backends part reads, and how far apart it was. */
export interface PartingInput {
  tap: string;
  /** Energy NMSE; null for integers. */
  nmse: number | null;
}

/** One backend against the first. */
export interface BackendComparison {
  backend: string;
  report: DiffReport;
  /** The first op in execution order whose value is further apart than allowed; null if there is none. */
  parts: { tap: string; block: number | null; nmse: number | null; inputs: readonly PartingInput[] } | null;
}

/**
 * Largest energy NMSE of two backends that both multiply in F32: sums in another order give 1e-12 at most on
 * the tiny model.
 */
export const SAME_ARITHMETIC = 1e-10;

/**
 * Compares a run of a second backend with one of the first, value by value, and names the op at which they
 * part.
 * @throws as `diffDumps`.
 */
export async function compareBackends(
  reference: DumpView,
  tested: DumpView,
  backend: string,
  failAbove = SAME_ARITHMETIC,
  allowNonFinite = false,
): Promise<BackendComparison> {
  const report = await diffDumps(reference, tested, { failAbove, allowNonFinite });
  const first = report.firstDivergence;
  if (first === null) return { backend, report, parts: null };
  const errors = new Map(report.tapReports.map((tap) => [tap.name, tapError(tap)]));
  const held = new Set(errors.keys());
  const { inputs } = tapInputs(first.tap, blockCount(held), held, false, reference.manifest.model.type);
  const { tap, block, nmse } = first;
  return {
    backend,
    report,
    parts: {
      tap,
      block,
      nmse,
      inputs: inputs.map((input) => ({ tap: input, nmse: errors.get(input) ?? null })),
    },
  };
}
