import { basename } from 'node:path';
import type { Checkpoint, StoredTensor } from '../../weights/checkpoint.js';
import { formatBytes } from '../format-number.js';

/** Tensors by dtype, the largest in front, and by file. */
export interface StoredCounts {
  dtypes: readonly { dtype: string; tensors: number; sizeBytes: number }[];
  files: readonly { name: string; tensors: number; sizeBytes: number }[];
}

/** Counts what a checkpoint stores, tensors of dtypes that cannot be read included. */
export function countStored({ files, tensors, unreadable }: Checkpoint): StoredCounts {
  const all: readonly StoredTensor[] = [...tensors.values(), ...unreadable.values()];
  const byDtype = new Map<string, StoredCounts['dtypes'][number]>();
  for (const { dtype, sizeBytes } of all) {
    const count = byDtype.get(dtype) ?? { dtype, tensors: 0, sizeBytes: 0 };
    byDtype.set(dtype, { dtype, tensors: count.tensors + 1, sizeBytes: count.sizeBytes + sizeBytes });
  }
  const byFile = new Map(files.map((file) => [file, { name: basename(file), tensors: 0, sizeBytes: 0 }]));
  for (const { parts } of all) {
    for (const { file, sizeBytes } of parts) byFile.get(file)!.sizeBytes += sizeBytes;
    for (const file of new Set(parts.map((part) => part.file))) byFile.get(file)!.tensors++;
  }
  return {
    dtypes: [...byDtype.values()].sort((a, b) => b.sizeBytes - a.sizeBytes),
    files: [...byFile.values()],
  };
}

/** The counts for people. */
export function storedFields({ dtypes, files }: StoredCounts): [string, string][] {
  const stored = dtypes.map(
    ({ dtype, tensors, sizeBytes }) => `${dtype} ${formatBytes(sizeBytes)} in ${tensors} tensors`,
  );
  return [
    ['dtypes', stored.join(', ')],
    ['files', files.map(({ name, sizeBytes }) => `${name} ${formatBytes(sizeBytes)}`).join(', ')],
  ];
}
