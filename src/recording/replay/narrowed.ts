/** Values of which a recording holds some rows (`record --positions`). */
import { blockElements, tapBlockBytes } from '../../dump/dtypes.js';
import type { GraphTensor } from '../../dump/graph-file.js';
import type { Dump } from '../../dump/reader.js';
import { keptRows, rowsOfBytes } from '../record/kept-rows.js';
import type { Four } from '../record/recorded-graph.js';
import { inGgmlOrder, inTapOrder } from '../record/tap-plan.js';
import type { Written } from './replay-node.js';

/** Which rows of a node's value were recorded at a step; undefined where all were. */
export async function recordedRows(
  dump: Dump,
  { tap, axes }: GraphTensor,
  step: number,
): Promise<Uint8Array | undefined> {
  const { selection, sequences } = dump.manifest;
  if (selection.positions === 'all' || tap === undefined || axes === undefined) return undefined;
  const { scope, nullable } = dump.tap(tap);
  if (scope !== 'token' || nullable !== true) return undefined;
  const rows = await dump.rows(tap);
  const places = [...rows.step.keys()].filter((row) => rows.step[row] === step);
  const present = new Uint8Array(places.length);
  for (let start = 0, end = 0; start < places.length; start = end) {
    const sequence = rows.sequence[places[start]!]!;
    while (end < places.length && rows.sequence[places[end]!] === sequence) end++;
    const own = places.slice(start, end);
    const index = {
      sequence: Int32Array.from(own, () => sequence),
      position: Int32Array.from(own, (row) => rows.position[row]!),
      tokenId: new Int32Array(own.length),
      step: new Int32Array(own.length).fill(step),
    };
    const lengths = sequences.map(({ tokens, length = 0 }) => tokens?.length ?? length);
    present.set(keptRows(index, { text: selection.positions, lengths }), start);
  }
  return present.includes(0) ? present : undefined;
}

/**
 * The same node, of which only these rows are read. Nothing reads the node: nothing of it is written back.
 */
export function narrowed(written: Written, { axes, type }: GraphTensor, present: Uint8Array): Written {
  const perBlock = blockElements(type);
  const size = tapBlockBytes(type);
  const token = axes![0]!;
  const { ne } = written;
  const kept = present.reduce((sum, one) => sum + one, 0);
  const of = (rows: number): Four => {
    const sizes: [number, number, number, number] = [...ne];
    sizes[token] = rows;
    return sizes;
  };
  const blocks = (rows: number): Four => {
    const [a, b, c, d] = of(rows);
    return [a / perBlock, b, c, d];
  };
  return {
    ne: of(kept),
    read: (memory, at) => {
      const ordered = inTapOrder(written.read(memory, at), blocks(ne[token]!), axes!, size);
      return inGgmlOrder(rowsOfBytes(ordered, present).bytes, blocks(kept), axes!, size);
    },
    write: () => {},
  };
}
