/**
 * The map of a family's tap names themselves, and PyTorch's with the leading `model.`: for files that hold
 * taps already.
 * @param outside taps outside the blocks, and which of them PyTorch's `model` holds. @param steps states and
 * lead rows of a block, which belong to a step and not to its tokens.
 */
export function tapNames(
  family: string,
  outside: Readonly<Record<'model' | 'head', readonly string[]>>,
  steps: readonly string[],
) {
  return {
    name: family,
    family,
    rules: [
      ...[...outside.model, ...outside.head].map((tap) => ({ from: tap, tap })),
      ...outside.model.map((tap) => ({ from: `model.${tap}`, tap })),
      ...['', 'model.'].flatMap((lead) => [
        ...steps.map((suffix) => ({
          from: `${lead}layers.{l}${suffix}`,
          tap: `layers.{l}${suffix}`,
          scope: 'step' as const,
        })),
        ...['.{rest}', ':{rest}', ''].map((rest) => ({
          from: `${lead}layers.{l}${rest}`,
          tap: `layers.{l}${rest}`,
        })),
      ]),
    ],
  };
}
