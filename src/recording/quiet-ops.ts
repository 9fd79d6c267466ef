/** ggml's ops that change no value. */

/** Nodes of these compute nothing: other strides over the memory of another tensor. */
export const VIEW_OPS: ReadonlySet<string> = new Set(['VIEW', 'RESHAPE', 'PERMUTE', 'TRANSPOSE']);

/** True of leaves and views, which are there and are not run. */
export function isNotRun(op: string): boolean {
  return op === 'NONE' || VIEW_OPS.has(op);
}

/** These give their source's values, in memory of their own. */
export const COPY_OPS: ReadonlySet<string> = new Set(['CONT', 'CPY', 'DUP']);
