/** What a recording's manifest and graph file say of a run. */
import { basename } from 'node:path';
import type { DumpDescription } from '../../dump/format.js';
import type { DumpGraph, GraphTensor } from '../../dump/graph-file.js';
import type { DumpRoles } from '../../dump/roles.js';
import type { openGgufFile } from '../../models/layout/source.js';
import { native } from '../../native.js';
import { packageVersion } from '../../package-version.js';
import { type Call, tokenCount } from './graph-rows.js';
import type { RecordRun } from './record.js';
import type { GraphCollector } from './recorded-graph.js';
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
      ...(run.set.length > 0 && {
        set: run.set.map(({ tap, step }) => (step === undefined ? tap : `${tap}@${step}`)),
      }),
      ...(run.pin.length > 0 && { pin: run.pin.map(({ taps, from }) => ({ taps, from: basename(from) })) }),
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

/** What libllama calls the head's output, and the stream that a block passes on. */
function rolesOf({ taps }: TapPlan): DumpRoles {
  const named = (pattern: RegExp) => taps.map(({ name }) => name).filter((name) => pattern.test(name));
  const roles = { logits: named(/^result_output$/), residual: named(/^l_out-\d+$/) };
  return Object.fromEntries(Object.entries(roles).filter(([, names]) => names.length > 0));
}

/** `graph.json`: every tensor, with the tap or the weight that holds its value. */
export function graphFile(
  weights: { tensors: ReadonlyMap<string, { dtype: string }> },
  { tensors, graphs }: Pick<GraphCollector, 'tensors' | 'graphs'>,
  plan: TapPlan,
): DumpGraph {
  return {
    version: 1,
    tensors: tensors.map(({ kind, isZero, viewSrc, viewOffs, buffer, ...tensor }): GraphTensor => {
      const planned = plan.values.get(tensor.id);
      const isWeight = kind === 'weight' && weights.tensors.get(tensor.name)?.dtype === tensor.type;
      return {
        ...tensor,
        ...(viewSrc === undefined ? {} : { viewSrc, viewOffs: viewOffs ?? 0 }),
        ...(buffer === '' ? {} : { buffer }),
        ...(planned && { tap: planned.tap, axes: planned.axes }),
        ...(isWeight ? { weight: tensor.name } : {}),
        ...(kind === 'state' ? { state: isZero ? ('zero' as const) : ('tap' as const) } : {}),
      };
    }),
    graphs: graphs.map(({ nodes }, step) => ({ step, nodes })),
  };
}
