/** In which dtypes a dump's ops are recomputed at first, as far as the dump says. */
import type { DumpView } from '../../../dump/dump-view.js';
import { UNKNOWN } from '../../../dump/import/foreign.js';
import type { Policy } from '../../../graph/policy.js';
import { AS_STORED } from '../notes.js';
import { ownPolicy } from '../own-errors.js';

/** True for a run of which nothing says that its weights are a checkpoint's, or that of a GGUF file. */
export function mayHaveOtherFile({ manifest }: DumpView): boolean {
  return manifest.policy.name === UNKNOWN || manifest.model.layout?.startsWith('gguf') === true;
}

/** Of a capture that says in which types it kept a GGUF file's matrices: these; all else is to be found. */
function recordedWeights({ manifest }: DumpView): Policy | undefined {
  const { rules } = manifest.policy;
  if (manifest.model.layout?.startsWith('gguf') !== true || !Array.isArray(rules)) return undefined;
  const weights = rules.filter(
    (rule): rule is Policy['rules'][number] =>
      typeof rule?.sites === 'string' && typeof rule.set === 'string' && rule.sites.endsWith('#weight'),
  );
  return weights.length === 0
    ? undefined
    : {
        name: AS_STORED,
        description: `matrices as policy ${manifest.policy.name} keeps them`,
        rules: weights,
      };
}

/**
 * The policy of a GGUF file's run, unless the dump says: another program than transformers multiplies with
 * the types of the file.
 */
export function ggufPolicy(tested: DumpView): Policy {
  if (tested.manifest.policy.name !== UNKNOWN) return recordedWeights(tested) ?? ownPolicy(tested);
  return {
    name: AS_STORED,
    description: 'matrices and activations in the types of the GGUF file',
    rules: [{ sites: '**#weight', set: 'stored' }],
  };
}
