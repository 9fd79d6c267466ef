/**
 * Faults of a program that is not known, in F32, which a noise run in BF16 hides: its products may round
 * their operands or their result. Own errors 3.2e-8 and 9.9e-6, of the noise run 2.7e-6 and 1.0e-5.
 */
const OF_PRODUCTS = ['values-in-f16', 'attention-softmax-bf16', 'grouped-im2col-f16'].map(
  (fault) => `unknown program, F32: ${fault}`,
);

/**
 * Faults that change a value and are not named first, by kind of dump: what is known to be beyond `locate`.
 * All are in BF16 programs of unknown dtypes, whose own rounding is as large. Energy NMSE (all blocks) of the
 * op with the fault and of the same op of the unaltered model, and how many times as large as the noise run's
 * the part of the error is that has a system (4 times is allowed, other right programs have up to 1.6):
 *
 * | fault                    | own error          | system |
 * |--------------------------|--------------------|--------|
 * | gelu-tanh                | 2.09e-6 to 2.07e-6 | 1.6    |
 * | branch-scale-before-bias | 5.8e-6 to 5.2e-6   | 2.7    |
 *
 * The second is found, but in a later op than the first: the same residual after the experts (5.3).
 */
const HIDDEN = ['gelu-tanh', 'branch-scale-before-bias'].flatMap((fault) =>
  ['BF16', 'BF16 in F32'].map((kind) => `unknown program, ${kind}: ${fault}`),
);

export const MISSED: ReadonlySet<string> = new Set([...OF_PRODUCTS, ...HIDDEN]);
