/**
 * Importance matrices as llama.cpp's `llama-imatrix` writes them: per matmul weight the mean squares of its
 * input's columns over a calibration text. Two formats: GGUF (tensors `NAME.in_sum2` and `NAME.counts`) and
 * the older `.dat` (a list of names with sums).
 * https://github.com/ggml-org/llama.cpp/blob/master/tools/imatrix/README.md
 */

import { describeValue } from '../describe-value.js';
import { unmet, type ZayascopeError } from '../errors.js';
import { utf8Text } from '../utf8.js';
import { readSmallFile } from './file-access.js';
import { sniffFile, wrongKind } from './formats/file-kind.js';
import { readGgufHeader } from './formats/gguf-header.js';
import { ggufCheckpoint } from './gguf.js';
import { readTensor } from './tensor-data.js';

const OP = 'readImportance';
const MAX_FILE_BYTES = 2 ** 31 - 1;
const MAX_NAME_BYTES = 1024;

/** Importance of the columns of a weight; of each of its matrices in turn where it is a stack of experts. */
export type ImportanceMatrix = ReadonlyMap<string, Float32Array>;

/**
 * Reads an importance matrix. Experts that saw no token have 0 throughout, by the counts of a GGUF file or
 * the sums of a `.dat`, which has no counts; `convertModel` gives them importance 1 everywhere, as llama.cpp
 * does by counts, and says so.
 * @returns importance by GGUF tensor name, F32 [matrices · columns].
 * @throws `IO` when the file cannot be read; `BAD_CHECKPOINT` when it is neither format or malformed.
 */
export async function readImportance(file: string): Promise<ImportanceMatrix> {
  const found = await sniffFile(OP, file);
  if (found.kind !== 'gguf' && found.kind !== 'binary' && found.kind !== 'empty')
    throw wrongKind('BAD_CHECKPOINT', OP, 'an importance matrix (GGUF, or the older .dat)', found, file);
  const entries =
    found.kind === 'gguf'
      ? await readGguf(file, found.sizeBytes)
      : readDat(await readSmallFile(OP, file, MAX_FILE_BYTES), file);
  if (entries.size === 0) throw bad('at least one tensor', 'none', file);
  for (const [name, values] of entries) {
    const at = values.findIndex((value) => !(value >= 0 && Number.isFinite(value)));
    if (at >= 0) throw bad('finite means of squares', `${values[at]} at index ${at}`, `${name} in ${file}`);
  }
  return entries;
}

async function readGguf(file: string, size: number): Promise<Map<string, Float32Array>> {
  const gguf = await readGgufHeader(OP, file);
  const type = gguf.metadata['general.type']?.value;
  // llama.cpp goes by the tensors; a file that says to be something else is something else.
  if (type !== undefined && type !== 'imatrix')
    throw bad('general.type "imatrix"', describeValue(type), file);
  const { tensors } = ggufCheckpoint(gguf, file, size);
  const values = async (name: string): Promise<Float32Array> => {
    const info = tensors.get(name);
    if (info?.dtype !== 'F32') throw bad(`${name} in F32`, info?.dtype ?? 'nothing', file);
    const bytes = await readTensor(info);
    return new Float32Array(bytes.buffer, bytes.byteOffset, bytes.byteLength / 4);
  };
  const entries = new Map<string, Float32Array>();
  for (const sumName of tensors.keys()) {
    if (!sumName.endsWith('.in_sum2')) continue;
    const name = sumName.slice(0, -'.in_sum2'.length);
    const sums = await values(sumName);
    const counts = await values(`${name}.counts`);
    if (sums.length % counts.length !== 0)
      throw bad(
        `columns for each of ${counts.length} counts`,
        `${sums.length} sums`,
        `${sumName} in ${file}`,
      );
    const wrong = counts.findIndex((count) => !(count >= 0 && count < Number.POSITIVE_INFINITY));
    if (wrong >= 0)
      throw bad('a finite count from 0', String(counts[wrong]), `${name}.counts[${wrong}] in ${file}`);
    const columns = sums.length / counts.length;
    entries.set(
      name,
      sums.map((sum, at) => {
        const count = counts[Math.floor(at / columns)]!;
        return count > 0 ? sum / count : 0;
      }),
    );
  }
  return entries;
}

function readDat(bytes: Uint8Array, file: string): Map<string, Float32Array> {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  let at = 0;
  const integer = (what: string, least: number, most: number): number => {
    if (at + 4 > view.byteLength) throw bad(what, 'the end of the file', file);
    const value = view.getInt32(at, true);
    if (value < least || value > most)
      throw bad(`a GGUF file, or ${what} from ${least} to ${most}`, `${value} at byte ${at}`, file);
    at += 4;
    return value;
  };
  const entries = new Map<string, Float32Array>();
  const count = integer('a number of entries', 1, 1_000_000);
  for (let entry = 0; entry < count; entry++) {
    const length = integer('the length of a name', 1, MAX_NAME_BYTES);
    if (at + length > view.byteLength) throw bad(`a name of ${length} bytes`, 'the end of the file', file);
    const name = utf8Text(bytes.subarray(at, at + length));
    if (name === undefined)
      throw bad('a name of UTF-8', `other bytes as that of entry ${entry}, at byte ${at}`, file);
    at += length;
    const calls = integer('a number of calls', 0, 2 ** 31 - 1);
    const columns = integer('a number of columns', 1, 2 ** 31 - 1);
    if (at + 4 * columns > view.byteLength)
      throw bad(`${columns} values of ${name}`, 'the end of the file', file);
    const values = Float32Array.from({ length: columns }, (_, i) => view.getFloat32(at + 4 * i, true));
    at += 4 * columns;
    // llama.cpp divides in F32, where large numbers of calls are rounded.
    const divisor = Math.fround(calls);
    entries.set(name, calls > 0 ? values.map((value) => value / divisor) : values);
  }
  return entries;
}

function bad(expected: string, got: string, where: string): ZayascopeError {
  return unmet('BAD_CHECKPOINT', OP, expected, got, { where, tensor: where });
}
