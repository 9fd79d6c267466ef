/** Pairs of small dumps for tests: the same taps, with changes on one side. */
import { join } from 'node:path';
import { onTestFinished } from 'vitest';
import type { DumpDescription, RowIndex, TapSpec } from '../../src/dump/format.js';
import { Dump } from '../../src/dump/reader.js';
import { DumpWriter, type TapValue } from '../../src/dump/writer.js';
import { description, rowIndex, TAPS, tapValue, temporaryFolder } from '../dump/dump-fixture.js';

/** How one side is written. */
export interface SideOptions {
  /** Manifest fields that differ from the fixture's. */
  manifest?: Partial<DumpDescription>;
  /** Rows [start, end) of each forward step; default one step of 6. */
  steps?: readonly (readonly [start: number, end: number])[];
  /** Changes values before they are written. */
  change?: (tap: TapSpec, value: TapValue, index: RowIndex) => TapValue;
  /** Changes the index columns before they are written. */
  reindex?: (index: RowIndex) => RowIndex;
  /** Leave the dump partial. */
  unfinished?: boolean;
}

/** Writes a dump of tier full and opens it. */
export async function dumpWith(options: SideOptions = {}): Promise<Dump> {
  const {
    manifest = {},
    steps = [[0, 6]],
    change = (_tap, value) => value,
    reindex = (index) => index,
  } = options;
  const dir = join(temporaryFolder(), 'dump');
  {
    await using writer = await DumpWriter.create(dir, description(manifest));
    const taps = manifest.taps ?? TAPS;
    for (const [step, [start, end]] of steps.entries()) {
      const index = reindex(rowIndex(start, end, step));
      for (const block of new Set(taps.map((tap) => tap.block))) {
        const own = taps.filter((tap) => tap.block === block);
        await writer.append(
          block,
          index,
          new Map(own.map((tap) => [tap.name, change(tap, tapValue(tap, index), index)])),
        );
      }
    }
    if (options.unfinished !== true) await writer.finish();
  }
  return opened(dir);
}

/** Opens a dump that is closed when the test ends. */
export async function opened(dir: string): Promise<Dump> {
  const dump = await Dump.open(dir);
  onTestFinished(() => dump.close());
  return dump;
}

/** A change that adds to one element of one tap's F32 values. */
export function addTo(name: string, element: number, amount: number): NonNullable<SideOptions['change']> {
  return (tap, value) => {
    if (tap.name !== name) return value;
    const data = new Float32Array(value.bytes.slice().buffer);
    data[element]! += amount;
    return { ...value, bytes: new Uint8Array(data.buffer) };
  };
}
