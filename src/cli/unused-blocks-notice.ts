import { printableLine } from '../printable.js';
import type { Terminal } from './terminal.js';

/**
 * Says before a run that the model's folder has weights of more blocks than its config counts. What is wrong
 * with the model itself is left to what opens it.
 */
export async function noticeUnusedBlocks(terminal: Terminal, model: string): Promise<void> {
  const { openModelSource } = await import('../models/layout/source.js');
  const { findModel } = await import('../weights/model-path.js');
  const { uncountedBlocks } = await import('../models/layout/unused-blocks.js');
  let note: string | undefined;
  try {
    if ((await findModel('openModel', model)).kind !== 'folder') return;
    note = uncountedBlocks(await openModelSource(model));
  } catch {
    return;
  }
  if (note !== undefined) terminal.notice(`zayascope: ${printableLine(note)}\n`);
}
