/** Keys of config.json that transformers honours whatever the model. */
import { describeValue } from '../../describe-value.js';
import { configError } from './config-keys.js';
import { refuseQuantisedConfig } from './quantised.js';

/**
 * Dtypes that transformers may load the weights in; a run's policy decides here, so only what is no dtype of
 * weights matters.
 */
const LOAD_DTYPES: ReadonlySet<string> = new Set([
  'float32',
  'float16',
  'bfloat16',
  'float64',
  'float',
  'half',
  'auto',
]);

/**
 * Refuses by name what such keys ask for and no model here does, instead of leaving it out in silence:
 * quantised weights, a text model within one of several parts, weights loaded in a dtype of 8 bits.
 * @throws `BAD_CONFIG`.
 */
export function refuseMeaning(json: Record<string, unknown>, op: string, where: string): void {
  refuseQuantisedConfig(json, op, where);
  if (typeof json.text_config === 'object' && json.text_config !== null)
    throw configError(
      op,
      'the config of a text model',
      `one of a model of several parts (text_config beside ${
        Object.keys(json)
          .filter((key) => /_config$/.test(key) && key !== 'text_config')
          .join(', ') || 'others'
      })`,
      where,
    );
  for (const key of ['dtype', 'torch_dtype']) {
    const value = json[key] ?? null;
    if (value !== null && !(typeof value === 'string' && LOAD_DTYPES.has(value.replace(/^torch\./, ''))))
      throw configError(op, `${key}: ${[...LOAD_DTYPES].join(', ')} or null`, describeValue(value), where);
  }
}
