import { badArgument } from '../errors.js';
import { OP_NAMES, type OpName } from '../graph/ops.js';
import { tapPattern } from '../tap-pattern.js';
import { capturedTemplates } from './captured.js';
import { allCases } from './cases.js';
import { modelShapes } from './model-shapes.js';
import type { ConformanceCase } from './template.js';

/** What is run, in a form that another process understands. */
export interface CaseSelection {
  /**
   * Model whose sizes are used: a folder or GGUF file. Default: the sizes of ZAYA1-8B and of a tiny model.
   */
  model?: string;
  /** Dump whose values are used besides, where an op's operand is a tap. Tier full. */
  dump?: string;
  /** Ops by glob over their names, e.g. `mulMat*`. Default: all. */
  ops?: string;
  /** Dtypes by glob over what the table shows, e.g. `F32 F32`. Default: all. */
  dtypes?: string;
}

/**
 * The cases of a selection, in the same order in every process. Throws `BAD_ARGUMENT` for a glob that matches
 * nothing, and what opening the model or the dump throws.
 */
export async function selectCases({
  model,
  dump,
  ops = '*',
  dtypes = '**',
}: CaseSelection): Promise<ConformanceCase[]> {
  const matches = tapPattern(ops);
  const wanted = new Set<OpName>(OP_NAMES.filter((op) => matches(op)));
  if (wanted.size === 0)
    throw badArgument('conformance', `a pattern that matches one of ${OP_NAMES.join(', ')}`, ops);
  const models = model === undefined ? undefined : [await shapesOf(model)];
  const captured = dump === undefined ? [] : await capturedTemplates(dump);
  const cases = allCases(models, captured, (op) => wanted.has(op));
  const has = tapPattern(dtypes);
  const selected = cases.filter(({ dtype }) => has(dtype));
  if (selected.length === 0)
    throw badArgument(
      'conformance',
      `a pattern that matches one of ${[...new Set(cases.map(({ dtype }) => dtype))].join(', ')}`,
      dtypes,
    );
  return selected;
}

async function shapesOf(path: string) {
  const { openModelSource } = await import('../models/layout/source.js');
  const { config } = await openModelSource(path);
  return modelShapes('model', config);
}
