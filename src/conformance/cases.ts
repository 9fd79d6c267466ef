import type { OpName } from '../graph/ops.js';
import { type ModelShapes, usualShapes } from './model-shapes.js';
import { type ConformanceCase, casesOf, type Template } from './template.js';
import { elementTemplates } from './templates-elements.js';
import { layoutTemplates } from './templates-layout.js';
import { productTemplates } from './templates-products.js';

/**
 * All cases in a fixed order, the same in every process.
 * @param models whose sizes are used; default those of {@link usualShapes}.
 * @param more templates besides, e.g. on captured values.
 */
export function allCases(
  models: readonly ModelShapes[] = usualShapes(),
  more: readonly Template[] = [],
  ops: (op: OpName) => boolean = () => true,
): ConformanceCase[] {
  return [
    ...layoutTemplates(models),
    ...elementTemplates(models),
    ...productTemplates(models),
    ...more,
  ].flatMap((template) => (ops(template.op) ? casesOf(template) : []));
}
