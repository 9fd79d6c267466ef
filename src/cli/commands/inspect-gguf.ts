import { basename } from 'node:path';
import { describeValue } from '../../describe-value.js';
import { elementCount } from '../../graph/shape.js';
import { openGgufFile } from '../../models/layout/source.js';
import type { GgufValue } from '../../native.js';
import type { StoredTensor } from '../../weights/checkpoint.js';
import { formatBytes, formatCount } from '../format-number.js';
import { fields, table } from '../table.js';
import { countStored, type StoredCounts, storedFields } from './stored-counts.js';

/** Longer lists of metadata (a vocabulary) are counted and not printed. */
const LISTED = 64;

/** What `inspect --json` prints of a GGUF file of an architecture that no model file of ours computes. */
export interface GgufSummary extends StoredCounts {
  kind: 'gguf';
  name: string;
  /** `general.architecture`; null where the file does not say. */
  architecture: string | null;
  /** Elements of all tensors. */
  parameters: number;
  /** Keys in the order of the file; of a list of more than 64 items its length, and no value. */
  metadata: readonly { key: string; type: string; value?: unknown; length?: number }[];
  /** In the order of the file; axes slowest first. */
  tensors: readonly { name: string; dtype: string; shape: readonly number[]; sizeBytes: number }[];
}

/** Reads the header of a GGUF file, all parts of a split one. @throws as `openGgufFile`. */
export async function summariseGguf(path: string): Promise<GgufSummary> {
  const { gguf, stored } = await openGgufFile(path);
  const tensors: readonly StoredTensor[] = [...stored.tensors.values(), ...stored.unreadable.values()];
  const architecture = gguf.metadata['general.architecture']?.value;
  return {
    kind: 'gguf',
    name: basename(path),
    architecture: typeof architecture === 'string' ? architecture : null,
    parameters: tensors.reduce((sum, { shape }) => sum + elementCount(shape), 0),
    ...countStored(stored),
    metadata: Object.entries(gguf.metadata).map(([key, value]) => ({ key, ...metadataValue(value) })),
    tensors: tensors.map(({ name, dtype, shape, sizeBytes }) => ({ name, dtype, shape, sizeBytes })),
  };
}

function metadataValue({ type, itemType, value }: GgufValue): Omit<GgufSummary['metadata'][number], 'key'> {
  if (!Array.isArray(value)) return { type, value: plain(value) };
  const list = { type: `${type} of ${itemType}` };
  return value.length > LISTED ? { ...list, length: value.length } : { ...list, value: value.map(plain) };
}

/** JSON has no integers beyond 2^53: they are texts. */
function plain(value: unknown): unknown {
  return typeof value === 'bigint' ? String(value) : value;
}

/** The summary for people. */
export function formatGguf(summary: GgufSummary): string {
  const { name, architecture, parameters, metadata, tensors } = summary;
  const head = fields([
    [
      'file',
      `${name} (GGUF, ${architecture === null ? 'no architecture named' : `architecture ${architecture}`})`,
    ],
    ['model', 'no model file of ours computes it; record, replay and locate run it through libllama'],
    ['parameters', formatCount(parameters)],
    ...storedFields(summary),
    ['tensors', formatCount(tensors.length)],
  ]);
  const keys = table(
    [{ title: 'key' }, { title: 'type' }, { title: 'value' }],
    metadata.map(({ key, type, value, length }) => [
      key,
      type,
      length === undefined ? describeValue(value) : `${formatCount(length)} items`,
    ]),
  );
  const rows = table(
    [{ title: 'tensor' }, { title: 'dtype' }, { title: 'shape' }, { title: 'size', align: 'right' }],
    tensors.map(({ name, dtype, shape, sizeBytes }) => [
      name,
      dtype,
      `[${shape.join(', ')}]`,
      formatBytes(sizeBytes),
    ]),
  );
  return [head, keys, rows].join('\n\n');
}
