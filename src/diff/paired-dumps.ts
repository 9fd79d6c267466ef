import type { DumpView } from '../dump/dump-view.js';
import { mapDump } from '../dump/names/mapped-dump.js';
import type { NameMap } from '../dump/names/name-map.js';
import { Dump } from '../dump/reader.js';

/** Two dumps opened to be compared. Closing them is the caller's. */
export interface PairedDumps extends AsyncDisposable {
  reference: Dump;
  /** The tested dump, under the names and in the layouts of the reference where a map was given. */
  tested: DumpView;
}

/**
 * Opens two dumps for everything that compares two: `diffDumps`, `locateDumps`, `createReport` and figures
 * take them as they are.
 * @param map names and layouts of the tested dump, where they are another program's.
 * @throws `IO`, `BAD_DUMP` as `Dump.open`; `BAD_ARGUMENT` for a map with a dump that is not of tier full.
 */
export async function openPairedDumps(
  referenceFolder: string,
  testedFolder: string,
  map?: NameMap,
): Promise<PairedDumps> {
  const reference = await Dump.open(referenceFolder);
  const opened = [reference];
  const close = async (): Promise<void> => {
    for (const dump of opened) await dump.close();
  };
  try {
    const own = await Dump.open(testedFolder);
    opened.push(own);
    const tested = map === undefined ? own : await mapDump(own, map, reference);
    return { reference, tested, [Symbol.asyncDispose]: close };
  } catch (error) {
    await close();
    throw error;
  }
}
