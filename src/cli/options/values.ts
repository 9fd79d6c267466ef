import { InvalidArgumentError } from 'commander';

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
