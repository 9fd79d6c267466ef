import { causalMask } from '../../graph/attention.js';
import { type ResidentMemory, type ResidentSpec, readResident, writeResident } from '../../graph/resident.js';
import { type RotaryAngles, rotaryTables } from '../../graph/rotary.js';
import type { ResidentTensor } from '../../graph/tensor.js';
import { architectureOf } from '../architectures.js';
import type { ModelConfig } from './architecture.js';
import type { ModelCache } from './cache.js';
import { type CallSizes, perType, type TypeConstant } from './call-sizes.js';

const TABLES = ['cos', 'sin', 'cos_product', 'sin_product'] as const;

/**
 * Where a forward call stands: positions already in the cache, and how many of the first positions of each
 * sequence are padding.
 */
export interface CallPlace {
  past: number;
  padding: readonly number[];
}

/**
 * Resident tensors that depend on the call but not on its tokens, and how to set them for a {@link
 * CallPlace}.
 */
export interface CallInputs {
  readonly tensors: ReadonlyMap<string, ResidentTensor>;
  place(at: CallPlace): void;
}

/** What a segment hands to the next: each state of the architecture as bytes, F32 [N, width]. */
export type Boundary = Readonly<Record<string, Uint8Array>>;

/** The states as the segment that ran last has left them. */
export function readBoundary(config: ModelConfig, { tensors }: CallInputs): Boundary {
  const names = Object.keys(architectureOf(config).states(config));
  return Object.fromEntries(names.map((name) => [name, readResident(tensors.get(name)!)]));
}

/** Puts states back. */
export function writeBoundary({ tensors }: CallInputs, boundary: Boundary): void {
  for (const [name, bytes] of Object.entries(boundary)) writeResident(tensors.get(name)!, bytes);
}

/** Allocates the inputs of calls of one size. */
export function allocateInputs(
  memory: ResidentMemory,
  config: ModelConfig,
  sizes: CallSizes,
  cache: ModelCache | undefined,
): CallInputs {
  const { batch, tokens, span, padded } = sizes;
  const rows = batch * tokens;
  const width = config.num_key_value_heads * config.head_dim;
  const architecture = architectureOf(config);
  const tables = Object.entries(architecture.tables(config));
  const types = [...new Set(config.layer_types)];
  const f32 = (name: string, shape: number[]): ResidentSpec => ({ name, dtype: 'F32', shape });
  const i32 = (name: string, shape: number[]): ResidentSpec => ({ name, dtype: 'I32', shape });
  const specs = [
    ...Object.entries(architecture.states(config)).map(([name, width]) => f32(name, [rows, width])),
    ...tables.map(([name, { shape, values }]) =>
      values instanceof Int32Array ? i32(name, [...shape]) : f32(name, [...shape]),
    ),
    ...types.flatMap((type) => [
      f32(perType('mask', type), padded ? [batch, 1, tokens, span] : [tokens, span]),
      ...TABLES.map((name) => f32(perType(name, type), [rows, 1, config.head_dim])),
    ]),
    ...(padded ? [f32('padding', [rows, 1])] : []),
    ...(cache === undefined ? [] : [i32('key_rows', [rows]), i32('value_elements', [rows * width])]),
  ];
  const tensors = new Map(memory.allocate(specs).map((tensor) => [tensor.name, tensor]));
  const write = (name: string, values: ArrayBufferView) => writeResident(tensors.get(name)!, values);
  for (const [name, { values }] of tables) write(name, values);
  return {
    tensors,
    place(at) {
      for (const type of types)
        for (const [name, values] of Object.entries(placeTables(config, type, sizes, at)))
          write(perType(name as TypeConstant, type), values);
      if (padded) write('padding', paddingColumn(sizes, at));
      if (cache === undefined) return;
      write('key_rows', keyRows(sizes, at, cache.capacity));
      write('value_elements', valueElements(sizes, at, cache.capacity, width));
    },
  };
}

/**
 * What blocks of a layer type read that depends on where the call stands: `mask` F32 [T, S] ([B, 1, T, S]
 * where padded), tables of cosines and sines F32 [N, 1, d].
 */
export function placeTables(
  config: ModelConfig,
  type: string,
  sizes: CallSizes,
  at: CallPlace,
): Record<TypeConstant, Float32Array> {
  const { rotary, theta, window } = architectureOf(config).attention(config, type);
  const positions = rowPositions(sizes, at);
  const tables = (angles: RotaryAngles) => rotaryTables(positions, config.head_dim, rotary, theta, angles);
  const { cos, sin } = tables('power');
  const { cos: cos_product, sin: sin_product } = tables('product');
  return { mask: attentionMask(sizes, at, window), cos, sin, cos_product, sin_product };
}

/** Position of each row within its own sequence, padding not counted (padding itself gets 0). */
function rowPositions({ batch, tokens }: CallSizes, { past, padding }: CallPlace): number[] {
  return Array.from({ length: batch * tokens }, (_, row) =>
    Math.max(0, past + (row % tokens) - (padding[Math.floor(row / tokens)] ?? 0)),
  );
}

function attentionMask(
  { batch, tokens, span, padded }: CallSizes,
  { past, padding }: CallPlace,
  window?: number,
): Float32Array {
  const own = causalMask(tokens, past, span, window);
  if (!padded) return own;
  const mask = new Float32Array(batch * tokens * span);
  for (let sequence = 0; sequence < batch; sequence++) {
    const start = sequence * tokens * span;
    mask.set(own, start);
    const pads = padding[sequence] ?? 0;
    for (let row = 0; row < tokens; row++) {
      const line = start + row * span;
      mask.fill(-Infinity, line, line + Math.min(pads, span));
      // A row of padding would see nothing and become NaN, which spreads; it may see itself, nobody reads it.
      if (past + row < pads) mask[line + past + row] = 0;
    }
  }
  return mask;
}

function paddingColumn({ batch, tokens }: CallSizes, { past, padding }: CallPlace): Float32Array {
  return Float32Array.from({ length: batch * tokens }, (_, row) =>
    past + (row % tokens) < (padding[Math.floor(row / tokens)] ?? 0) ? 0 : 1,
  );
}

function keyRows({ batch, tokens }: CallSizes, { past }: CallPlace, capacity: number): Int32Array {
  return Int32Array.from(
    { length: batch * tokens },
    (_, row) => Math.floor(row / tokens) * capacity + past + (row % tokens),
  );
}

function valueElements(
  { batch, tokens }: CallSizes,
  { past }: CallPlace,
  capacity: number,
  width: number,
): Int32Array {
  const elements = new Int32Array(batch * tokens * width);
  let at = 0;
  for (let sequence = 0; sequence < batch; sequence++)
    for (let token = 0; token < tokens; token++)
      for (let channel = 0; channel < width; channel++)
        elements[at++] = (sequence * width + channel) * capacity + past + token;
  return elements;
}
