import { ZayascopeError } from '../errors.js';

/** Which dtype is used where. Plain data: printed as it is in every manifest. */
export interface Policy {
  name: string;
  /** One sentence for people. */
  description: string;
  /** Matmul weights (projections, router, experts, embedding and head): widened to F32, or used in the dtype that the checkpoint stores. */
  matmulWeights: 'F32' | 'stored';
  /** Patches of the grouped convolution, and with them its products. */
  im2col: 'F32' | 'F16';
  /** GELU of the router MLP: exact, or ggml's tanh approximation. */
  gelu: 'erf' | 'tanh';
  /** Keys and values as attention reads them. A half-width dtype also rounds the queries and probabilities that are multiplied with them. */
  kvCache: 'F32' | 'F16' | 'BF16';
}

/** The presets by name. */
export const POLICIES: Readonly<Record<string, Policy>> = {
  f32: {
    name: 'f32',
    description: 'weights widened, F32 everywhere',
    matmulWeights: 'F32',
    im2col: 'F32',
    gelu: 'erf',
    kvCache: 'F32',
  },
  'bf16-weights': {
    name: 'bf16-weights',
    description:
      'matmul weights as stored, which rounds their activations to the same dtype on the CPU; everything else F32',
    matmulWeights: 'stored',
    im2col: 'F32',
    gelu: 'erf',
    kvCache: 'F32',
  },
};

/** A preset by name; throws `BAD_ARGUMENT` listing the names. */
export function policy(name: string): Policy {
  const found = Object.hasOwn(POLICIES, name) ? POLICIES[name] : undefined;
  if (found === undefined)
    throw new ZayascopeError(
      'BAD_ARGUMENT',
      `policy: expected one of ${Object.keys(POLICIES).join(', ')}, got ${name}`,
      {
        op: 'policy',
      },
    );
  return found;
}
