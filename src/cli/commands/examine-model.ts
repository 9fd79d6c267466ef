import type { InsertedCopy } from '../../graph/device-needs.js';
import type { UnsupportedNode } from '../../graph/device-support.js';
import { unsupportedOf } from '../../graph/device-support.js';
import { type Model, type OpenModelOptions, openModel } from '../../models/runtime/model.js';
import { settingOf } from '../../models/runtime/model-policy.js';
import type { ModelPlan } from '../../models/runtime/plan.js';

/** How a model runs on a device. */
export interface ModelOnDevice {
  model: string;
  policy: string;
  device: string;
  description: string;
  strictF32: boolean;
  /** Nodes that compute or move data, of a prefill and a decode step with every value tapped. */
  nodes: number;
  /** Nodes that the device has no kernel for; the model does not run there unless this is empty. */
  unsupported: readonly UnsupportedNode[];
  /** Contiguous copies in front of ops that need them on this device. */
  inserted: readonly InsertedCopy[];
}

/** Tokens of the prefill that is looked at: kernels are chosen by dtypes and strides, not by this. */
const TOKENS = 8;
const ALL = { wants: () => true };

/** Compiles a model's graphs for a device, without running them. Throws as `openModel` does. */
export async function examineModel(path: string, options: OpenModelOptions): Promise<ModelOnDevice> {
  using model = await openModel(path, options);
  const { backend, policy } = model;
  const found = {
    model: path,
    policy: policy.name,
    device: backend.device.name,
    description: backend.device.description,
    strictF32: backend.strictF32,
  };
  try {
    const plans = [prefill(model), await decode(model)];
    return {
      ...found,
      nodes: plans.reduce((sum, { nodes }) => sum + nodes, 0),
      unsupported: [],
      inserted: plans.flatMap(({ inserted }) => inserted),
    };
  } catch (error) {
    const unsupported = unsupportedOf(error);
    if (unsupported === undefined) throw error;
    return { ...found, nodes: 0, unsupported, inserted: [] };
  }
}

function prefill(model: Model) {
  using plan = model.plan({ tokens: TOKENS, taps: ALL });
  return describe(plan);
}

async function decode(model: Model) {
  const { allocateCache } = await import('../../models/runtime/cache.js');
  using cache = allocateCache(
    model.weights,
    model.backend,
    settingOf(model.policy, model.config),
    1,
    2 * TOKENS,
  );
  using plan = model.plan({ tokens: 1, taps: ALL, cached: { cache, span: TOKENS } });
  return describe(plan);
}

function describe({ computeNodes, segments }: ModelPlan) {
  return { nodes: computeNodes, inserted: segments.flatMap(({ inserted }) => inserted) };
}
