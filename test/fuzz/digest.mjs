import { createHash } from 'node:crypto';

/** SHA-256 of numbers as little-endian doubles, every NaN the same one; `oracle.py` computes the same. */
export function digestNumbers(values) {
  const doubles = new Float64Array(values.length);
  for (let k = 0; k < values.length; k++) doubles[k] = Number(values[k]);
  for (let k = 0; k < doubles.length; k++) if (Number.isNaN(doubles[k])) doubles[k] = Number.NaN;
  return createHash('sha256').update(new Uint8Array(doubles.buffer)).digest('hex');
}

/** SHA-256 of a text's UTF-8 bytes. */
export function digestText(text) {
  return createHash('sha256').update(text).digest('hex');
}
