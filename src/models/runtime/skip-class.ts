/**
 * True if a router with these balancing biases (F32 [E + 1], the last of the class that skips the experts)
 * can choose that class: not if `1 + bias[skip] <= max(bias of experts)`, for probabilities are at most 1.
 */
export function isSkipReachable(biases: Float32Array): boolean {
  const skip = biases.length - 1;
  return 1 + biases[skip]! > Math.max(...biases.subarray(0, skip));
}
