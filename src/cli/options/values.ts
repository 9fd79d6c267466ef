import { InvalidArgumentError } from 'commander';
import type { RawDtype } from '../../dump/import/raw-dtype.js';

/** Parser of an option that takes an integer from `least` to `most`. */
export function integerOption(least: number, most: number): (text: string) => number {
  return (text) => {
    const value = Number(text);
    if (!/^\d+$/.test(text) || value < least || value > most)
      throw new InvalidArgumentError(`Expected an integer from ${least} to ${most}.`);
    return value;
  };
}

/** Parser of an option that takes a positive number or zero, e.g. `1e-10`. */
export function thresholdOption(text: string): number {
  const value = Number(text);
  if (text.trim() === '' || !Number.isFinite(value) || value < 0)
    throw new InvalidArgumentError('Expected a number from 0 on, e.g. 1e-10.');
  return value;
}

const RAW_DTYPES: Readonly<Record<string, RawDtype>> = { f32: 'F32', bf16: 'BF16', f16: 'F16', f64: 'F64' };

/** Parser of an option that takes the dtype of a raw file. */
export function rawDtype(text: string): RawDtype {
  const found = Object.hasOwn(RAW_DTYPES, text.toLowerCase()) ? RAW_DTYPES[text.toLowerCase()] : undefined;
  if (found === undefined)
    throw new InvalidArgumentError(`Expected one of ${Object.keys(RAW_DTYPES).join(', ')}.`);
  return found;
}

/** Parser of an option that takes the dtypes of two raw files, or one of both. */
export function rawDtypes(text: string): readonly [RawDtype, RawDtype] {
  const [reference, tested = reference, ...more] = text.split(',').map(rawDtype);
  if (reference === undefined || tested === undefined || more.length > 0)
    throw new InvalidArgumentError('Expected one dtype, or one of each side, e.g. f32,bf16.');
  return [reference, tested];
}
