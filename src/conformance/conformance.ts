import { backendKind } from '../graph/backend-library.js';
import type { OpName } from '../graph/ops.js';
import { type ChildMessage, type ConformanceDevice, runInChildren } from './in-children.js';
import { type CaseSelection, selectCases } from './options.js';
import { type CaseOutcome, type ComputeCase, computeOnDevice } from './run-case.js';
import { runRange } from './run-range.js';
import { TOLERANCES } from './tolerances.js';

/** Options of {@link conformance}. */
export interface ConformanceOptions extends CaseSelection {
  /** Backend or device name, as in `openBackend`. Default `cpu`. */
  backend?: string;
  /** F32 products of F32 operands on devices that round them otherwise. Default false. */
  strictF32?: boolean;
  /** Called after each case. */
  onProgress?(done: number, total: number): void;
}

/** One case and what became of it. */
export type CaseReport = CaseOutcome & {
  op: OpName;
  /** Dtypes of the operands, and of the result where it differs from the last: `F16 F32 → F16`. */
  dtype: string;
  /** Shapes of the operands; how they lie, where they are not dense. */
  shape: string;
  /** Where the shape or the values are from. */
  from: string;
};

/** How a device computes the vocabulary. */
export interface ConformanceReport {
  backend: string;
  device: ConformanceDevice;
  cases: readonly CaseReport[];
  /** Processes that died at cases which then ran in a fresh one. */
  lostProcesses: number;
  /** Why each op may be off by as much as it may. */
  reasons: Readonly<Partial<Record<OpName, string>>>;
  /** False if a case failed or crashed; unsupported ones are no failure. */
  pass: boolean;
}

/**
 * Runs every op of the vocabulary on a device, in every dtype that its rule accepts, on shapes of a model and
 * on odd, single, strided and batched ones, and judges each result against double precision. Devices other
 * than the CPU run in child processes.
 *
 * @throws `BAD_ARGUMENT` for a glob that matches nothing, `BACKEND` for a device that is not there, and what
 * opening the model or the dump throws.
 */
export async function conformance(options: ConformanceOptions = {}): Promise<ConformanceReport> {
  return conformanceWith(computeOnDevice, options);
}

/** {@link conformance} with another way to compute a case, which is used on the CPU only. */
export async function conformanceWith(
  compute: ComputeCase,
  options: ConformanceOptions,
): Promise<ConformanceReport> {
  const { backend = 'cpu', strictF32 = false, onProgress = () => {}, model, dump, ops, dtypes } = options;
  const selection: CaseSelection = { model, dump, ops, dtypes };
  const cases = await selectCases(selection);
  const job = { selection, backend, strictF32 };
  const step = (done: number) => onProgress(done, cases.length);
  const { device, outcomes, lostProcesses } =
    backendKind(backend) === 'cpu'
      ? await runHere(job, cases.length, compute, step)
      : await runInChildren(job, cases.length, step);
  const reports = cases.map(
    ({ op, dtype, shape, from }, index): CaseReport => ({ op, dtype, shape, from, ...outcomes[index]! }),
  );
  return {
    backend,
    device,
    cases: reports,
    lostProcesses,
    reasons: Object.fromEntries(reports.map(({ op }) => [op, TOLERANCES[op].reason])),
    pass: reports.every(({ verdict }) => verdict === 'pass' || verdict === 'unsupported'),
  };
}

async function runHere(
  job: { selection: CaseSelection; backend: string; strictF32: boolean },
  count: number,
  compute: ComputeCase,
  onOutcome: (done: number) => void,
) {
  let device: ConformanceDevice | undefined;
  const outcomes: CaseOutcome[] = [];
  const take = (message: ChildMessage) => {
    if ('device' in message) device = message.device;
    if (!('outcome' in message)) return;
    outcomes.push(message.outcome);
    onOutcome(outcomes.length);
  };
  await runRange({ ...job, start: 0, end: count }, take, compute);
  return { device: device!, outcomes, lostProcesses: 0 };
}
