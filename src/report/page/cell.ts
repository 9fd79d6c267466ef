import type { CellValue, ColumnKind } from './data.js';

/** A cell as people read it. */
export function formatCell(value: CellValue, kind: ColumnKind): string {
  if (value === null) return '';
  if (kind === 'text' || typeof value === 'string') return String(value);
  if (kind === 'share') {
    if (value === 0 || value === 1) return `${100 * value} %`;
    // Never rounded to all or nothing.
    return `${Math.min(99.99, Math.max(0.01, 100 * value)).toFixed(2)} %`;
  }
  if (kind === 'error') return value === 0 ? '0' : value.toExponential(1).replace('e+', 'e');
  return String(Number(value.toPrecision(kind === 'ratio' ? 3 : 6)));
}
