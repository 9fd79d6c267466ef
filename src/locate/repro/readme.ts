import { UNKNOWN } from '../../dump/import/foreign.js';
import { REPRO_FILES, type ReproDescription } from './folder.js';

/** Whose the weights of a folder are. */
export function weightsWords({ sameWeights }: ReproDescription['model']): string {
  if (sameWeights === null) return 'the dump does not say which weights ran';
  return sameWeights ? 'those that the dump was made with' : 'not those that the dump names';
}

/** The policy of a dump; nothing where another program's is not known. */
export function policyWords(policy: string): string {
  return policy === UNKNOWN ? '' : `, policy ${policy}`;
}

/** `README.md` of a folder: what it is, how to run it, what is in it. */
export function reproReadme({
  op,
  tokens,
  positions,
  policy,
  dump,
  model,
  weights,
}: ReproDescription): string {
  const settings = Object.entries(policy.settings).map(([site, value]) => `- \`${site}\`: ${value}`);
  const names = Object.entries(weights).map(
    ([name, { dtype, shape }]) => `- \`${name}\` ${dtype} [${shape.join(', ')}]`,
  );
  return `# One value, reproduced: \`${op}\`

Computes this value again from the values that it was computed from. No model and no dump is needed:

    npx zayascope repro run . --dtype-variants

- Inputs and expected output: ${dump.producer}${policyWords(dump.policy)}, model ${dump.model}; ${tokens} tokens, positions ${positions.start} to ${positions.end - 1} are compared
- Weights: ${model.name}, ${weightsWords(model)} (${model.weightsSha256})
- Policy: ${policy.name}

| file | what |
|---|---|
| \`${REPRO_FILES.description}\` | config, policy, and the piece of graph: nodes in execution order, \`sources\` counting from 0, strides in bytes |
| \`${REPRO_FILES.inputs}\` | \`tap:NAME\` values of the dump in its dtype, \`history:NAME\` states before the first token, \`tokens\` |
| \`${REPRO_FILES.weights}\` | weights as the model stores them |
| \`${REPRO_FILES.expected}\` | the value as the dump has it |

Inputs of the graph named \`constant:NAME\` follow from the config: causal mask, cosines and sines of the rotary embedding, the router's table of experts.

Settings that matter here:

${settings.join('\n') || 'none: every policy computes it alike'}

Weights:

${names.join('\n') || 'none'}
`;
}
