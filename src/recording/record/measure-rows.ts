import { native } from '../../native.js';
import type { MeasureRows } from './value-writer.js';

/** By the addon, on threads of its own. */
export const measureRows: MeasureRows = (values) => native().rowStats(values);
