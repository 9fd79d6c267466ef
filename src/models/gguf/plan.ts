/** What laying out GGUF files of every family has in common. */
import type { GgufValue } from '../../native.js';
import type { ModelConfig, RequiredTensor } from '../runtime/architecture.js';
import { requiredTensors } from '../runtime/weights.js';
import type { DtypeFallback, GgufPlan } from './layout.js';
import { type GgufType, ggufDtype, ggufFileType } from './types.js';

/** A count. */
export function u32(value: number): GgufValue {
  return { type: 'u32', value };
}

/** A number, as GGUF stores it. */
export function f32(value: number): GgufValue {
  return { type: 'f32', value: Math.fround(value) };
}

/** The keys that every file starts with. */
export function generalKeys(architecture: string, name: string, type: GgufType): Record<string, GgufValue> {
  return {
    'general.architecture': { type: 'str', value: architecture },
    'general.type': { type: 'str', value: 'model' },
    'general.name': { type: 'str', value: name },
    'general.file_type': u32(ggufFileType(type)),
    'general.quantization_version': u32(2),
  };
}

/**
 * The tensors of a file, each in the dtype that the type gives it.
 * @param names for every required tensor its names in a file, of which the first is written. @param shapeOf
 * its axes in the file; default as they are.
 */
export function planTensors(
  config: ModelConfig,
  type: GgufType,
  names: ReadonlyMap<string, readonly string[]>,
  shapeOf: (tensor: RequiredTensor) => readonly number[] = ({ shape }) => shape,
): Pick<GgufPlan, 'tensors' | 'fallbacks'> {
  const fallbacks: DtypeFallback[] = [];
  const tensors = requiredTensors(config).map((source) => {
    const { dtype, wanted } = ggufDtype(source, type, config);
    const spec = { name: names.get(source.name)![0]!, dtype, shape: shapeOf(source), source };
    if (dtype !== wanted)
      fallbacks.push({ tensor: spec.name, columns: source.shape.at(-1)!, wanted, used: dtype });
    return spec;
  });
  return { tensors, fallbacks };
}

/** GGUF has room for one id each; of several eos ids the first. */
export function specialTokens(config: ModelConfig): Record<string, GgufValue> {
  const eos =
    typeof config.eos_token_id === 'object' ? (config.eos_token_id?.[0] ?? null) : config.eos_token_id;
  const ids = { bos: config.bos_token_id, eos, padding: config.pad_token_id };
  return Object.fromEntries(
    Object.entries(ids)
      .filter(([, id]) => id !== null && id >= 0 && id < config.vocab_size)
      .map(([kind, id]) => [`tokenizer.ggml.${kind}_token_id`, { type: 'u32', value: id! }]),
  );
}
