/**
 * Views of one file as text for a page: gzip of a JSON head and one byte a cell, in base64. `page/tensor.ts`
 * unpacks it in the browser when a tap of it is first looked at.
 */
import { promisify } from 'node:util';
import { gzip } from 'node:zlib';
import type { GridRows, TensorView } from './tensor-views.js';
import type { Histograms } from './value-sample.js';
import {
  type DifferenceScale,
  differenceScale,
  encodeDifferences,
  encodeValues,
  type ValueScale,
  valueScale,
} from './view-codes.js';

/**
 * What the head of a pack says of one view; its three grids (reference, tested, difference) of `gridRows` x
 * `gridColumns` bytes follow in order.
 */
export interface PackedView {
  tap: string;
  axes: readonly string[];
  shape: readonly number[];
  rows: number;
  scope: 'token' | 'step';
  gridRows: number;
  gridColumns: number;
  /** Index into the head's `rowSets`. */
  rowSet: number;
  values: ValueScale;
  differences: DifferenceScale;
  histograms: Histograms;
}

/** Head of a pack: a 32-bit length (little endian), then this as JSON, then the grids. */
export interface PackHead {
  rowSets: GridRows[];
  views: PackedView[];
}

/** Packs views; base64, which holds no character that HTML gives a meaning. */
export async function packViews(views: readonly TensorView[]): Promise<string> {
  const rowSets: string[] = [];
  const grids: Uint8Array[] = [];
  const packed = views.map((view): PackedView => {
    const { tap, axes, shape, rows, scope, histograms } = view;
    const { reference, tested, difference, filled } = view.grids;
    const rowSet = JSON.stringify(view.gridRows);
    if (!rowSets.includes(rowSet)) rowSets.push(rowSet);
    const values = valueScale([reference, tested], filled);
    const differences = differenceScale(difference);
    const codes = Array.from({ length: 3 }, () => new Uint8Array(filled.length));
    encodeValues(reference, filled, values, codes[0]!);
    encodeValues(tested, filled, values, codes[1]!);
    encodeDifferences(difference, filled, differences, codes[2]!);
    grids.push(...codes);
    return {
      tap,
      axes,
      shape,
      rows,
      scope,
      gridRows: view.grids.rows,
      gridColumns: view.grids.columns,
      rowSet: rowSets.indexOf(rowSet),
      values,
      differences,
      histograms,
    };
  });
  const head: PackHead = { rowSets: rowSets.map((text) => JSON.parse(text) as GridRows), views: packed };
  const text = Buffer.from(JSON.stringify(head));
  const length = Buffer.alloc(4);
  length.writeUInt32LE(text.length);
  const bytes = await promisify(gzip)(Buffer.concat([length, text, ...grids]), { level: 9 });
  return bytes.toString('base64');
}
