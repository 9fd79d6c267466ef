/** The kinds of dump that faults are planted in. */
import type { Seen } from './kept-dump.js';
import type { Planting } from './plant-server.js';

/** How a dump of a kind is made, seen and judged. */
export interface DumpKind {
  name: string;
  /** What the dump is derived from; kinds with equal plantings share dumps. */
  plants: Pick<Planting, 'dtype' | 'gguf' | 'steps'> & { batch?: boolean };
  /** How it is seen. `seed` names the case, for choices that differ from one to the next. */
  seen: (seed: string) => Seen;
  /** The unaltered model in the same dtype counts as noise. */
  noise: boolean;
  /** Judged with the checkpoint folder, or without a model. */
  withModel: boolean;
}

const BLOCKS = /^(embed_tokens|input_affine|norm|lm_head|layers\.\d+)$/;
const MODULES =
  /^(embed_tokens|norm|lm_head|layers\.\d+(\.(input_layernorm|post_attention_layernorm|self_attn\.(o_proj|qkv_proj\.\w+|qk_norm:\w+)|mlp\.experts|mlp\.gate\.(down_proj|router_mlp\.\w+)|post_(attention|mlp)_residual_scale))?)$/;

/** A whole number of 32 bits made of a text (FNV-1a). */
export function hash(text: string): number {
  let value = 0x811c9dc5;
  for (let k = 0; k < text.length; k++) value = Math.imul(value ^ text.charCodeAt(k), 0x01000193);
  // the last characters have touched few bits yet
  value = Math.imul(value ^ (value >>> 15), 0x85ebca6b);
  return (value ^ (value >>> 13)) >>> 0;
}

const whole = (): Seen => ({});
const only = (pattern: RegExp) => (): Seen => ({ keeps: (name) => pattern.test(name) });
const half = (seed: string): Seen => ({ keeps: (name) => hash(`${seed} ${name}`) % 2 === 0 });
const foreign = (): Seen => ({ foreign: true });
const widened = (): Seen => ({ foreign: true, widened: true });

export const KINDS: readonly DumpKind[] = [
  kind('whole, F32', 'float32', whole, { noise: false }),
  kind('whole, F32, no model', 'float32', whole, { noise: false, withModel: false }),
  kind('block outputs, F32', 'float32', only(BLOCKS), { noise: false }),
  kind('module outputs, F32', 'float32', only(MODULES), { noise: false }),
  kind('random halves, F32', 'float32', half, { noise: false }),
  // judged with a noise run in BF16, whose rounding is no noise of theirs
  kind('whole, F32, noise run', 'float32', whole, { noise: true }),
  kind('unknown program, F32', 'float32', foreign, { noise: true }),
  kind('whole, BF16', 'bfloat16', whole, { noise: true }),
  kind('whole, BF16, no noise run', 'bfloat16', whole, { noise: false }),
  kind('unknown program, BF16', 'bfloat16', foreign, { noise: true }),
  kind('unknown program, BF16 in F32', 'bfloat16', widened, { noise: true }),
  kind('whole, F16, no noise run', 'float16', whole, { noise: false }),
  kind('unknown program, F16', 'float16', foreign, { noise: true }),
  kind('unknown program, F16 in F32', 'float16', widened, { noise: true }),
  {
    ...kind('weights as Q8_0', 'float32', foreign, { noise: false }),
    plants: { dtype: 'float32', gguf: 'q8_0' },
  },
  {
    ...kind('weights as BF16', 'float32', foreign, { noise: false }),
    plants: { dtype: 'float32', gguf: 'bf16' },
  },
  {
    ...kind('decode steps', 'float32', whole, { noise: false }),
    plants: { dtype: 'float32', steps: '16,9,1,1' },
  },
  {
    ...kind('padded batches', 'float32', whole, { noise: false }),
    plants: { dtype: 'float32', steps: '16,9,1,1', batch: true },
  },
];

/**
 * The kinds of dump in which right programs are judged, all with noise: what is known of them is their
 * values.
 */
export const RIGHT_KINDS: readonly DumpKind[] = (['float32', 'bfloat16'] as const).flatMap((dtype) =>
  (
    [
      ['whole', foreign],
      ['block outputs', () => ({ ...foreign(), ...only(BLOCKS)() })],
      ['module outputs', () => ({ ...foreign(), ...only(MODULES)() })],
      ['random halves', (seed: string) => ({ ...foreign(), ...half(seed) })],
      ...(dtype === 'float32' ? [] : ([['in F32', widened]] as const)),
    ] as const
  ).map(([name, seen]) => kind(`right program, ${dtype}: ${name}`, dtype, seen, { noise: true })),
);

/**
 * Programs whose dtypes are known, as transformers' own: those that only sum in another order are right
 * there.
 */
export const KNOWN_KINDS: readonly DumpKind[] = (['bfloat16', 'float16'] as const).map((dtype) =>
  kind(`right program, ${dtype}: as transformers`, dtype, whole, { noise: true }),
);

function kind(
  name: string,
  dtype: Planting['dtype'],
  seen: DumpKind['seen'],
  { noise, withModel = true }: { noise: boolean; withModel?: boolean },
): DumpKind {
  return { name, plants: { dtype }, seen, noise, withModel };
}
