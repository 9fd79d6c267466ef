import type { NameMap } from '../../dump/names/name-map.js';
import { openPairedDumps } from '../paired-dumps.js';
import { checkLogits, type LogitsCheckOptions, type LogitsCheckReport } from './check.js';
import { dumpLogits, openLogits } from './check-source.js';

/** Options of {@link verifyLogits}. */
export interface VerifyLogitsOptions extends LogitsCheckOptions {
  /** Length of a row of raw files that hold the logits of several tokens; default: such a file is one row. */
  vocabulary?: number;
  /** Names of the tested dump, where they are another program's; both sides must then be dumps. */
  map?: NameMap;
}

/**
 * Opens logits on both sides, dumps or raw files, compares them and closes them again.
 *
 * @throws as `openLogits` and `checkLogits`.
 */
export async function verifyLogits(
  referencePath: string,
  testedPath: string,
  { vocabulary, map, ...options }: VerifyLogitsOptions = {},
): Promise<LogitsCheckReport> {
  if (map !== undefined) {
    await using dumps = await openPairedDumps(referencePath, testedPath, map);
    return await checkLogits(await dumpLogits(dumps.reference), await dumpLogits(dumps.tested), options);
  }
  await using reference = await openLogits(referencePath, vocabulary);
  await using tested = await openLogits(testedPath, vocabulary);
  return await checkLogits(reference, tested, options);
}
