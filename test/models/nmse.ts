/** Energy NMSE of `tested` against `reference`. */
export function nmse(reference: ArrayLike<number>, tested: ArrayLike<number>): number {
  if (reference.length !== tested.length)
    throw new Error(`nmse: ${reference.length} against ${tested.length} values`);
  let error = 0;
  let energy = 0;
  for (let i = 0; i < reference.length; i++) {
    error += (reference[i]! - tested[i]!) ** 2;
    energy += reference[i]! ** 2;
  }
  return error / energy;
}
