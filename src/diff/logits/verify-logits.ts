import type { RawDtype } from '../../dump/import/raw-dtype.js';
import type { NameMap } from '../../dump/names/name-map.js';
import { badArgument } from '../../errors.js';
import { openPairedDumps } from '../paired-dumps.js';
import { checkLogits, type LogitsCheckOptions, type LogitsCheckReport } from './check.js';
import { dumpLogits, openLogits } from './check-source.js';

/** Options of {@link verifyLogits}. */
export interface VerifyLogitsOptions extends LogitsCheckOptions {
  /** Length of a row of raw files that hold the logits of several tokens; default: such a file is one row. */
  vocabulary?: number;
  /**
   * What the raw file of each side holds, or of both. Default: F32, unless its bits show something else,
   * which is refused.
   */
  dtype?: RawDtype | readonly [reference: RawDtype, tested: RawDtype];
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
  { vocabulary, dtype, map, ...options }: VerifyLogitsOptions = {},
): Promise<LogitsCheckReport> {
  const noRawFile = () =>
    badArgument('verifyLogits', 'a raw file with a dtype', 'files that say what they hold');
  if (map !== undefined) {
    if (dtype !== undefined) throw noRawFile();
    await using dumps = await openPairedDumps(referencePath, testedPath, map);
    return await checkLogits(await dumpLogits(dumps.reference), await dumpLogits(dumps.tested), options);
  }
  const [ofReference, ofTested] = typeof dtype === 'string' ? [dtype, dtype] : (dtype ?? []);
  await using reference = await openLogits(referencePath, vocabulary, ofReference);
  await using tested = await openLogits(testedPath, vocabulary, ofTested);
  if (dtype !== undefined && reference.unmarked === undefined && tested.unmarked === undefined)
    throw noRawFile();
  return await checkLogits(reference, tested, options);
}
