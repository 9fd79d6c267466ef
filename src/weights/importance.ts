/** Importance as ggml's quantisers can use it. */

/**
 * Beyond these, products of importances leave the range of F32 inside the quantisers, which then give up the
 * search for scales.
 */
const LARGEST = 2 ** 40;
const SMALLEST = 2 ** -40;

/** Importance of one weight, and what was done to it. */
export interface UsableImportance {
  values: Float32Array;
  /** Matrices that the calibration never reached: importance 1 throughout. */
  unreached: number;
  /** Matrices whose importances were brought into range by a power of two. */
  scaled: number;
  /**
   * Columns of importance 0 beside others that are not: for ggml their weights count for nothing, and blocks
   * of such columns alone may become 0.
   */
  ignoredColumns: number;
}

/**
 * Brings importance into the form that llama.cpp gives ggml. A matrix without any (an expert that no token of
 * the calibration text reached) counts 1 for every column, as llama.cpp has it for a count of 0 in GGUF
 * files; the older `.dat` has no counts, and zeros throughout mean the same: given to ggml as they are, they
 * make every weight 0. Importances beyond 2^40, or all below 2^-40, are multiplied by a power of two, which
 * changes no quotient of them. Others are left as they are.
 *
 * @param values F32 [matrices · columns], none negative or not finite. @param matrices how many one tensor is
 * a stack of.
 */
export function usableImportance(values: Float32Array, matrices: number): UsableImportance {
  const columns = values.length / matrices;
  const result: UsableImportance = { values: values.slice(), unreached: 0, scaled: 0, ignoredColumns: 0 };
  for (let matrix = 0; matrix < matrices; matrix++) {
    const own = result.values.subarray(matrix * columns, (matrix + 1) * columns);
    const most = own.reduce((max, value) => Math.max(max, value), 0);
    if (most === 0) {
      own.fill(1);
      result.unreached++;
      continue;
    }
    result.ignoredColumns += own.filter((value) => value === 0).length;
    if (most <= LARGEST && most >= SMALLEST) continue;
    const exponent = Math.floor(Math.log2(most));
    for (const [at, value] of own.entries()) own[at] = value * 2 ** -exponent;
    result.scaled++;
  }
  return result;
}
