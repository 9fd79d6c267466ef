/// <reference lib="dom" />
import type { PackedView, PackHead } from '../build/pack-views.js';
import type { GridRows } from '../build/tensor-views.js';

/** A view unpacked in the browser: values per cell, row-major. */
export interface UnpackedView {
  view: PackedView;
  rows: GridRows;
  /** NaN where there is no element or it is not finite: see `marks`. */
  reference: Float64Array;
  tested: Float64Array;
  /** Signed; NaN where there is none, or where a side is not finite. */
  difference: Float64Array;
  /** By cell, what is not finite: reference, then tested side; `''` where both are. */
  marks: string[];
}

/** Unpacks the text that `packViews` made: all views of one file, by tap. */
export async function unpackViews(base64: string): Promise<Map<string, UnpackedView>> {
  const packed = Uint8Array.from(atob(base64), (character) => character.charCodeAt(0));
  const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream('gzip'));
  const bytes = new Uint8Array(await new Response(stream).arrayBuffer());
  const length = new DataView(bytes.buffer).getUint32(0, true);
  const head = JSON.parse(new TextDecoder().decode(bytes.subarray(4, 4 + length))) as PackHead;
  const names = new Map([
    [253, '−Infinity'],
    [254, 'Infinity'],
    [255, 'NaN'],
  ]);
  let at = 4 + length;
  const views = new Map<string, UnpackedView>();
  for (const view of head.views) {
    const size = view.gridRows * view.gridColumns;
    const [reference, tested, difference] = [0, 1, 2].map((k) =>
      bytes.subarray(at + k * size, at + (k + 1) * size),
    ) as [Uint8Array, Uint8Array, Uint8Array];
    at += 3 * size;
    const { least, most } = view.values;
    const value = (code: number): number =>
      code === 0 || code >= 253 ? Number.NaN : least + ((code - 1) / 251) * (most - least);
    const spread = view.differences;
    const magnitude = (level: number): number => spread.least * (spread.most / spread.least) ** (level / 125);
    const change = (code: number): number => {
      if (code === 0 || code === 255) return Number.NaN;
      if (code === 1) return 0;
      return code < 128 ? magnitude(code - 2) : -magnitude(code - 128);
    };
    views.set(view.tap, {
      view,
      rows: head.rowSets[view.rowSet]!,
      reference: Float64Array.from(reference, value),
      tested: Float64Array.from(tested, value),
      difference: Float64Array.from(difference, change),
      marks: Array.from({ length: size }, (_, cell) => {
        const [a, b] = [names.get(reference[cell]!), names.get(tested[cell]!)];
        if (a !== undefined || b !== undefined) return `${a ?? 'finite'}, ${b ?? 'finite'}`;
        return difference[cell] === 255 ? 'not finite on one side' : '';
      }),
    });
  }
  return views;
}
