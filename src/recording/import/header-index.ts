/** The index of a folder that `dumps/llamacpp/zayascope_recording.h` wrote: a line of JSON per event. */

import { describeValue } from '../../describe-value.js';
import { type Dtype, ggmlType } from '../../dtype.js';
import { blockElements, TAP_DTYPES, type TapDtype } from '../../dump/dtypes.js';
import { unmet, type ZayascopeError } from '../../errors.js';
import type { NativeRecorded } from '../../native-llama.js';
import { parseJsonObject } from '../../weights/json-object.js';

const OP = 'importRecording';
const FORMAT = 'zayascope-llamacpp';
const KINDS = ['node', 'view', 'weight', 'input', 'state'] as const;

/** A call that was announced: tokens in its order. */
export interface HeaderBatch {
  tokens: readonly number[];
  positions: readonly number[];
  sequences: readonly number[];
}

/** Where a value's bytes are. */
export interface HeaderValue {
  id: number;
  ne: readonly number[];
  offset: number;
  bytes: number;
}

/** One graph that ran, in the order of its lines. */
export interface HeaderGraph {
  /** Number of its batch. */
  batch: number;
  tensors: NativeRecorded[];
  /** Of leaves and nodes, in the order in which they were read. */
  values: HeaderValue[];
}

/** All lines. */
export interface HeaderIndex {
  system: string;
  model: string | undefined;
  /** Where all calls have the same number. */
  threads: number | undefined;
  batches: HeaderBatch[];
  graphs: HeaderGraph[];
  isFinished: boolean;
}

/** Whether the first line is that of a recording. */
export function isRecordedIndex(text: string): boolean {
  const [line] = text.split('\n', 1);
  try {
    const { format, version } = JSON.parse(line!) as Record<string, unknown>;
    return format === FORMAT && version === 2;
  } catch {
    return false;
  }
}

/**
 * Reads the lines; text after the last line feed is a line that was not written to its end.
 * @throws `BAD_DUMP` naming the line at fault.
 */
export function parseHeaderIndex(text: string, file: string): HeaderIndex {
  const index = new IndexReader();
  for (const [at, line] of text.split('\n').slice(0, -1).entries()) {
    const where = `line ${at + 1} of ${file}`;
    index.add(parseJsonObject(Buffer.from(line), { code: 'BAD_DUMP', op: OP, where }), where);
  }
  return index.result(file);
}

class IndexReader {
  readonly #index: HeaderIndex = {
    system: '',
    model: undefined,
    threads: undefined,
    batches: [],
    graphs: [],
    isFinished: false,
  };
  #next = 0;
  #isFirst = true;

  add(entry: Record<string, unknown>, where: string): void {
    const index = this.#index;
    if (this.#isFirst) {
      this.#isFirst = false;
      if (entry.format !== FORMAT || entry.version !== 2)
        throw badLine(`format ${FORMAT}, version 2`, describeValue(entry.format), where);
      index.system = typeof entry.system === 'string' ? entry.system : '';
    } else if (entry.id !== undefined) this.#addTensor(entry, where);
    else if (entry.value !== undefined) this.#addValue(entry, where);
    else if (entry.graph !== undefined) {
      if (entry.graph !== index.graphs.length || index.batches.length === 0)
        throw badLine(`graph ${index.graphs.length} of a batch`, describeValue(entry.graph), where);
      index.graphs.push({ batch: index.batches.length - 1, tensors: [], values: [] });
    } else if (entry.tokens !== undefined) {
      const [tokens, positions, sequences] = [entry.tokens, entry.positions, entry.sequences];
      const isBatch =
        [tokens, positions, sequences].every(isSizes) &&
        new Set([tokens, positions, sequences].map((list) => (list as number[]).length)).size === 1;
      if (!isBatch) throw badLine('tokens, positions and sequences of a batch', 'others', where);
      index.batches.push({ tokens, positions, sequences } as HeaderBatch);
    } else if (entry.threads !== undefined) {
      index.threads =
        entry.threads === entry.threads_batch ? sizeOf(entry.threads, 'threads', where) : undefined;
      index.model = typeof entry.model === 'string' ? entry.model : undefined;
    } else if (entry.finished === true) index.isFinished = true;
    else throw badLine('a line of a known kind', Object.keys(entry).join(', ').slice(0, 80), where);
  }

  result(file: string): HeaderIndex {
    if (this.#isFirst) throw badLine('lines', 'none that is whole', file);
    return this.#index;
  }

  #graph(where: string): HeaderGraph {
    const graph = this.#index.graphs.at(-1);
    if (graph === undefined) throw badLine('a graph before its tensors', 'none', where);
    return graph;
  }

  #addTensor(entry: Record<string, unknown>, where: string): void {
    const { id, kind, name, op, params, buffer, zero } = entry;
    const graph = this.#graph(where);
    const isKnown =
      KINDS.includes(kind as never) && [name, op, params, buffer].every((each) => typeof each === 'string');
    if (id !== this.#next || !isKnown)
      throw badLine(`tensor ${this.#next} with kind, name, op, params and buffer`, describeValue(id), where);
    const ne = four(entry.ne, 'ne', where);
    const dtype = dtypeOf(entry.type, where);
    if (ne[0]! % blockElements(dtype) !== 0)
      throw badLine(`rows of whole blocks of ${dtype}`, ne.join(' x '), where);
    const src = this.#sources(entry.src, where);
    graph.tensors.push({
      id: this.#next,
      graph: this.#index.graphs.length - 1,
      kind: kind as (typeof KINDS)[number],
      name: name as string,
      op: op as string,
      type: ggmlType(dtype as Dtype),
      ne,
      nb: four(entry.nb, 'nb', where),
      params: params as string,
      flags: sizeOf(entry.flags, 'flags', where),
      src,
      ...(entry.view_src !== undefined && {
        viewSrc: this.#sources([entry.view_src], where)[0]!,
        viewOffs: sizeOf(entry.view_offs, 'view_offs', where),
      }),
      buffer: buffer as string,
      isZero: zero === true,
    });
    if (entry.offset !== undefined) graph.values.push(placeOfValue(this.#next, ne, entry, where));
    this.#next++;
  }

  #addValue(entry: Record<string, unknown>, where: string): void {
    const id = sizeOf(entry.value, 'value', where);
    if (id >= this.#next) throw badLine(`a value of tensors below ${this.#next}`, String(id), where);
    this.#graph(where).values.push(placeOfValue(id, four(entry.ne, 'ne', where), entry, where));
  }

  /** Ids of tensors that came before. */
  #sources(value: unknown, where: string): (number | null)[] {
    const isList =
      Array.isArray(value) &&
      value.length <= 10 &&
      value.every((id) => id === null || (Number.isSafeInteger(id) && id >= 0 && id < this.#next));
    if (!isList) throw badLine('sources among the tensors before', describeValue(value), where);
    return value as (number | null)[];
  }
}

function placeOfValue(
  id: number,
  ne: readonly number[],
  entry: Record<string, unknown>,
  where: string,
): HeaderValue {
  return {
    id,
    ne,
    offset: sizeOf(entry.offset, 'offset', where),
    bytes: sizeOf(entry.bytes, 'bytes', where),
  };
}

/** ggml's names of types are in lower case but for the letters of quantised ones. */
function dtypeOf(value: unknown, where: string): TapDtype {
  const name = typeof value === 'string' ? value.toUpperCase() : '';
  const dtype = TAP_DTYPES.find((each) => each === name);
  if (dtype === undefined || dtype === 'U8' || dtype === 'BOOL')
    throw badLine('an element type of the dump format', describeValue(value), where);
  return dtype;
}

function four(value: unknown, what: string, where: string): number[] {
  if (isSizes(value) && value.length === 4) return value;
  throw badLine(`4 numbers as ${what}`, describeValue(value), where);
}

function sizeOf(value: unknown, what: string, where: string): number {
  if (Number.isSafeInteger(value) && (value as number) >= 0) return value as number;
  throw badLine(`a whole number as ${what}`, describeValue(value), where);
}

function isSizes(value: unknown): value is number[] {
  return Array.isArray(value) && value.every((size) => Number.isSafeInteger(size) && size >= 0);
}

/** An error over a folder. */
export function badLine(expected: string, got: string, where: string): ZayascopeError {
  return unmet('BAD_DUMP', OP, expected, got, { where, tensor: where });
}
