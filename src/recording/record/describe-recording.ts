/** What a recording's manifest says of a run. */
import { basename } from 'node:path';
import type { DumpDescription } from '../../dump/format.js';
import type { openGgufFile } from '../../models/layout/source.js';
import { native } from '../../native.js';
import { packageVersion } from '../../package-version.js';
import { rolesOf } from './graph-file.js';
import { type Call, tokenCount } from './graph-rows.js';
import type { RecordRun } from './record.js';
import type { TapPlan } from './tap-plan.js';

type GgufFile = Awaited<ReturnType<typeof openGgufFile>>;

/** The manifest of a recording. */
export function describeRun(
  run: RecordRun,
  { gguf }: GgufFile,
  weightsSha256: string,
  calls: readonly Call[],
  plan: TapPlan,
): DumpDescription {
  const architecture = gguf.metadata['general.architecture']?.value;
  const version = native().version();
  return {
    tier: run.tier,
    producer: {
      name: 'zayascope record',
      version: packageVersion(),
      ggml: version.ggml,
      commit: version.commit,
    },
    model: {
      name: basename(run.model),
      layout: `gguf ${typeof architecture === 'string' ? architecture : 'of an unknown architecture'}`,
      weightsSha256,
    },
    policy: {
      name: 'libllama',
      flashAttention: run.flashAttention,
      keyType: run.keyType,
      valueType: run.valueType,
      set:
        run.set.length > 0
          ? run.set.map(({ tap, step }) => (step === undefined ? tap : `${tap}@${step}`))
          : undefined,
      pin: run.pin.length > 0 ? run.pin.map(({ taps, from }) => ({ taps, from: basename(from) })) : undefined,
    },
    backend: { name: 'cpu', device: cpuName(), threads: run.threads, ubatch: run.ubatch },
    sequences: run.sequences.map((_, sequence) => ({
      tokens: calls.flatMap(({ parts }) =>
        parts.filter((part) => part.sequence === sequence).flatMap(({ tokens }) => [...tokens]),
      ),
    })),
    selection: { taps: run.taps, positions: run.positions },
    taps: plan.taps,
    roles: rolesOf(plan),
    order: 'execution',
    calls: calls.map((call) => ({ step: call.step, kind: call.kind, rows: tokenCount(call) })),
  };
}

function cpuName(): string {
  return (
    native()
      .devices()
      .find(({ type }) => type === 'cpu')?.description ?? 'CPU'
  );
}
