import { checkLogits, type LogitsCheckOptions, type LogitsCheckReport } from './check.js';
import { openLogits } from './check-source.js';

/** Options of {@link verifyLogits}. */
export interface VerifyLogitsOptions extends LogitsCheckOptions {
  /** Length of a row of raw files that hold the logits of several tokens; default: such a file is one row. */
  vocabulary?: number;
}

/**
 * Opens logits on both sides, dumps or raw files, compares them and closes them again.
 *
 * @throws as `openLogits` and `checkLogits`.
 */
export async function verifyLogits(
  referencePath: string,
  testedPath: string,
  { vocabulary, ...options }: VerifyLogitsOptions = {},
): Promise<LogitsCheckReport> {
  await using reference = await openLogits(referencePath, vocabulary);
  await using tested = await openLogits(testedPath, vocabulary);
  return await checkLogits(reference, tested, options);
}
