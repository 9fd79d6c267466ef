import { plainReason } from '../../../capture/plain-policy.js';
import type { DumpView } from '../../../dump/dump-view.js';
import { familyOf } from '../../../dump/roles.js';
import { familyPolicies, type Policy } from '../../../graph/policy.js';
import type { ModelWeights } from '../../../models/runtime/loader.js';
import { AS_STORED, label } from '../notes.js';

/**
 * In which dtypes the ops of a dump were recomputed, where it is not F32; of a run under a policy of ours
 * that rounds, also where it is. @param given the dtypes that the user says.
 */
export function recomputedNotes(
  tested: DumpView,
  { name }: Policy,
  given: Policy | undefined,
  weights: ModelWeights | undefined,
): string[] {
  const own = tested.manifest.policy;
  if (name === 'f32') {
    const rules = Array.isArray(own.rules) ? (own.rules as Policy['rules']) : [];
    const ran = { name: own.name, description: '', rules };
    const isPlain = weights === undefined || rules.length === 0 || plainReason(ran, weights) !== undefined;
    if (given !== undefined || isPlain) return [];
    const preset = familyPolicies(familyOf(tested.manifest))[own.name];
    const isPreset = preset !== undefined && JSON.stringify(preset.rules) === JSON.stringify(rules);
    return [
      `Ops of ${label(tested)} are recomputed in F32, though it ran under policy ${own.name}: what that policy asks for counts as error. --policy ${isPreset ? own.name : 'with its file'} recomputes them under it.`,
    ];
  }
  const how = name === AS_STORED ? `with ${name}` : `in the dtypes of policy ${name}`;
  return [`Ops of ${label(tested)} are recomputed ${how}.`];
}
