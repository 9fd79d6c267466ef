/** Faults of arithmetic planted in a recording: a node's value is another than its inputs give. */
import { writeFileSync } from 'node:fs';
import { Dump, recordGguf } from '../../src/index.js';
import { npy } from '../recording/faults.js';

/** What happens to a node's values. */
export type Wrong = 'F16' | 'BF16' | 'scaled' | 'NaN';

const CHANGES: Readonly<Record<Wrong, (value: number) => number>> = {
  F16: (value) => rounded(value, 10, 2 ** -24),
  BF16: (value) => rounded(value, 7, 0),
  scaled: (value) => value * 1.02,
  NaN: () => Number.NaN,
};

/** Where it happens. */
export interface PlantedNumber {
  /** Folder of a recording of the model as it is. */
  plain: string;
  tap: string;
  wrong: Wrong;
  out: string;
  /** Call in which it happens, of as many more tokens. Default 0. */
  step?: number;
}

/** Records the model with the value of a tap changed; later nodes compute on. */
export async function recordWrong(
  model: string,
  tokens: readonly number[],
  { plain, tap, wrong, out, step = 0 }: PlantedNumber,
): Promise<string> {
  const file = `${out}.npy`;
  await using dump = await Dump.open(plain);
  const { data, shape } = await dump.read(tap, { step });
  writeFileSync(file, npy((data as Float32Array).map(CHANGES[wrong]), shape));
  const run = { model, tokens, threads: 1, keyType: 'F32', valueType: 'F32', out } as const;
  await recordGguf({ ...run, generate: step, set: [{ tap, file, step }] });
  return out;
}

/** To so many bits behind the first, ties to even, and to multiples of the least number that there is. */
function rounded(value: number, bits: number, least: number): number {
  if (value === 0) return 0;
  const unit = Math.max(2 ** (Math.floor(Math.log2(Math.abs(value))) - bits), least);
  const below = Math.floor(value / unit);
  const rest = value / unit - below;
  const isUp = rest > 0.5 || (rest === 0.5 && below % 2 !== 0);
  return (isUp ? below + 1 : below) * unit;
}
