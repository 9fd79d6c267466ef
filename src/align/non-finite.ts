/** NaN and infinities of a whole dump: they agree with nothing, and no verdict may pass over them. */
import { isExact } from '../dump/dtypes.js';
import { hasNumbers, toFloat64 } from '../dump/float.js';
import { isMasked } from '../dump/format.js';
import { type Dump, ReusableBuffer } from '../dump/reader.js';

/** A value that holds some. */
export interface NonFiniteValue {
  name: string;
  nan: number;
  inf: number;
  /** Where the first stands. */
  step: number;
  sequence: number;
  position: number;
}

/**
 * Values with NaN or infinities, in the order of execution, of all calls. Minus infinity is how masks are
 * written, and counts in the logits only. Local variables alone (memory that is not yet written) do not
 * count.
 */
export async function nonFiniteValues(dump: Dump): Promise<NonFiniteValue[]> {
  const found: NonFiniteValue[] = [];
  const memory = new ReusableBuffer();
  for (const tap of dump.taps) {
    const { name, dtype } = tap;
    if (isExact(dtype) || !hasNumbers(dtype) || isMasked(tap)) continue;
    const isResult = dump.roles?.logits?.includes(name) === true;
    let own: NonFiniteValue | undefined;
    for await (const { data, dtype: stored, shape, step, sequence, position } of dump.stream(
      name,
      {},
      memory,
    )) {
      const values = data instanceof Float32Array ? data : toFloat64(data, stored);
      const width = values.length / (shape[0] ?? 1);
      for (let k = 0; k < values.length; k++) {
        const value = values[k]!;
        if (value - value === 0 || (value === Number.NEGATIVE_INFINITY && !isResult)) continue;
        const row = Math.floor(k / width);
        own ??= {
          name,
          nan: 0,
          inf: 0,
          step: step[row]!,
          sequence: sequence[row]!,
          position: position[row]!,
        };
        if (Number.isNaN(value)) own.nan++;
        else own.inf++;
      }
    }
    if (own !== undefined) found.push(own);
  }
  return found.some(({ name }) => !isLocal(name)) ? found : [];
}

/** `model.layers.0.self_attn:eager_attention_forward.attn_weights`. */
function isLocal(name: string): boolean {
  return name.includes(':');
}

/** `recording: 34 values hold NaN or infinity, first ffn_out-1 (19 NaN, position 3)`. */
export function nonFiniteWords(side: string, values: readonly NonFiniteValue[]): string {
  const [{ name, nan, inf, step, sequence, position }] = values as [NonFiniteValue];
  const counts = [...(nan > 0 ? [`${nan} NaN`] : []), ...(inf > 0 ? [`${inf} infinite`] : [])].join(', ');
  const call = [...(step > 0 ? [`step ${step}`] : []), ...(sequence > 0 ? [`sequence ${sequence}`] : [])];
  return `${side}: ${values.length} ${values.length === 1 ? 'value holds' : 'values hold'} NaN or infinity, first ${name} (${[counts, ...call, `position ${position}`].join(', ')})`;
}
