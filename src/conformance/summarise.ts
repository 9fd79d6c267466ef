import type { OpName } from '../graph/ops.js';
import type { CaseReport, ConformanceReport } from './conformance.js';

/** All cases of one op with one set of dtypes. */
export interface ConformanceRow {
  op: OpName;
  dtype: string;
  /** Cases that ran or should have. */
  cases: number;
  /** Of these, ones that the device says it has no kernel for. */
  unsupported: number;
  /** The case nearest to its tolerance, or farthest beyond it; undefined where none ran. */
  worst: (CaseReport & { verdict: 'pass' | 'fail' }) | undefined;
  /** Over all cases that ran. */
  maxUlp: number;
  maxAbs: number;
  verdict: 'pass' | 'FAIL' | 'unsupported' | 'CRASHED';
  /** Findings about failures, each once. */
  findings: readonly string[];
}

/** One row for each op and set of dtypes, in the order of the vocabulary. */
export function summarise({ cases }: ConformanceReport): ConformanceRow[] {
  const groups = new Map<string, CaseReport[]>();
  for (const each of cases) {
    const key = `${each.op} ${each.dtype}`;
    groups.set(key, [...(groups.get(key) ?? []), each]);
  }
  return [...groups.values()].map(rowOf);
}

function rowOf(cases: readonly CaseReport[]): ConformanceRow {
  const { op, dtype } = cases[0]!;
  const ran = cases.filter(
    (each): each is CaseReport & { verdict: 'pass' | 'fail' } =>
      each.verdict === 'pass' || each.verdict === 'fail',
  );
  const unsupported = cases.filter(({ verdict }) => verdict === 'unsupported').length;
  const has = (verdict: CaseReport['verdict']) => cases.some((each) => each.verdict === verdict);
  const failed = has('fail') ? 'FAIL' : 'pass';
  return {
    op,
    dtype,
    cases: cases.length,
    unsupported,
    worst: ran.reduce<(typeof ran)[number] | undefined>(
      (most, each) => (most === undefined || excess(each) > excess(most) ? each : most),
      undefined,
    ),
    maxUlp: Math.max(0, ...ran.map(({ maxUlp }) => maxUlp)),
    maxAbs: Math.max(0, ...ran.map(({ maxAbs }) => maxAbs)),
    verdict: has('crashed') ? 'CRASHED' : unsupported === cases.length ? 'unsupported' : failed,
    findings: [...new Set(ran.flatMap(({ finding }) => finding ?? []))],
  };
}

/** How near a case is to its tolerance; failures come first. */
function excess({ nmse, tolerance }: { nmse: number; tolerance: number }): number {
  if (nmse > tolerance) return tolerance === 0 ? Infinity : nmse / tolerance;
  return tolerance === 0 ? 0 : nmse / tolerance;
}
