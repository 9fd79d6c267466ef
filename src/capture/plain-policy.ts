import type { Policy } from '../graph/policy.js';
import { policy as preset } from '../graph/policy.js';
import { type ModelWeights, matrixDtype, weightSite } from '../models/runtime/loader.js';
import { settingOf } from '../models/runtime/model-policy.js';
import { modelSites, siteChoice } from '../models/runtime/sites.js';
import { requiredTensors } from '../models/runtime/weights.js';

/**
 * Why a policy other than f32 makes no difference to a model: it keeps matrices as they are stored, and all
 * that it keeps are stored in F32. undefined where it makes one.
 */
export function plainReason(
  policy: Policy,
  { config, checkpoint }: Pick<ModelWeights, 'config' | 'checkpoint'>,
): string | undefined {
  const f32 = preset('f32');
  if (policy.name === f32.name) return undefined;
  const [own, plain] = [settingOf(policy, config), settingOf(f32, config)];
  const matrices = requiredTensors(config, checkpoint.tensors.has('lm_head.weight'));
  const changes = modelSites(config).filter((site) => siteChoice(site, own) !== siteChoice(site, plain));
  const isPlain = changes.every(({ name, kind }) => {
    const matrix = kind === 'weight' ? matrices.find((each) => weightSite(each.name) === name) : undefined;
    const stored = matrix && checkpoint.tensors.get(matrix.name)?.dtype;
    return matrix && stored && matrixDtype(matrix, stored, config, own) === 'F32';
  });
  return isPlain
    ? `${policy.name} computes as f32 here: it keeps matrices as they are stored, and this model's are F32`
    : undefined;
}
