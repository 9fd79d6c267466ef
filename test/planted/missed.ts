/**
 * Faults that change a value and are not named first, by kind of dump: what is known to be beyond `locate`.
 * All are in programs of unknown dtypes, whose own rounding is as large. Own errors (energy NMSE, all blocks)
 * of the op with the fault and of the same op of the unaltered model, where 9 times the latter is allowed:
 *
 * | fault                    | BF16               | F16                |
 * |--------------------------|--------------------|--------------------|
 * | gelu-tanh                | 2.09e-6 to 2.07e-6 | 6.2e-8 to 3.4e-8   |
 * | branch-scale-before-bias | 5.8e-6 to 5.2e-6   | 6.7e-7 to 8.7e-8   |
 * | rope-table-in-bf16       | (changes nothing)  | 3.0e-7 to 4.0e-8   |
 *
 * In F16 each is found, but in a later op or block than the first: the second GELU, the residual after the
 * experts, block 5.
 */
const HIDDEN: Readonly<Record<string, readonly string[]>> = {
  BF16: ['gelu-tanh', 'branch-scale-before-bias'],
  F16: ['gelu-tanh', 'branch-scale-before-bias', 'rope-table-in-bf16'],
};

export const MISSED: ReadonlySet<string> = new Set(
  Object.entries(HIDDEN).flatMap(([dtype, faults]) =>
    [dtype, `${dtype} in F32`].flatMap((kind) => faults.map((fault) => `unknown program, ${kind}: ${fault}`)),
  ),
);
