/** Presets of dtype policies (`src/graph/policy.ts`) of which every family has its own rules. */

export interface Rule {
  readonly sites: string;
  readonly set: string;
}

/** transformers in half precision; `rules` say what is rounded. */
export function pytorchPresets(rules: (dtype: 'BF16' | 'F16') => readonly Rule[]) {
  return {
    'pytorch-bf16': {
      name: 'pytorch-bf16',
      description: 'F32 arithmetic, rounded to BF16 exactly where transformers rounds with a BF16 model',
      rules: rules('BF16'),
    },
    'pytorch-f16': {
      name: 'pytorch-f16',
      description: 'F32 arithmetic, rounded to F16 exactly where transformers rounds with an F16 model',
      rules: rules('F16'),
    },
  } as const;
}

/** llama.cpp with a file of each common type: `rules`, and matrices as such a file stores them. */
export function storedPresets(describe: (type: string) => string, rules: readonly Rule[]) {
  return Object.fromEntries(
    ['bf16', 'f16', 'q8_0', 'q6_k', 'q4_0'].map((type) => {
      const name = `llamacpp-${type}`;
      return [
        name,
        { name, description: describe(type), rules: [...rules, { sites: '**#weight', set: type }] },
      ];
    }),
  );
}
