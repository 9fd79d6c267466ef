import { basename, join, resolve } from 'node:path';
import { readRegularText } from '../../regular-file.js';
import { fileSizeBytes, ioError, readInto, withFile } from '../../weights/file-access.js';
import { type ForeignSource, type ForeignValue, foreignBytes, importError } from './foreign.js';
import { cutBySequence } from './llamacpp-cut.js';
import { type IndexedValue, parseLlamacppIndex } from './llamacpp-index.js';
import { type GraphPart, graphParts } from './llamacpp-rows.js';

const OP = 'importDump';
/** Names of the two files that `dumps/llamacpp/zayascope_dump.h` writes. */
export const LLAMACPP_INDEX = 'index.jsonl';
const DATA = 'tensors.bin';
/** ggml cuts names so that they fit GGML_MAX_NAME with the byte that ends them. */
const LONGEST_NAME = 63;

/**
 * Opens a folder that `dumps/llamacpp/zayascope_dump.h` wrote in a llama.cpp port. A step is what one graph
 * (one ubatch) computed of one sequence. Of a name that a graph has several times, the last goes by the name
 * itself, as llama.cpp means it, and the k-th before it by `name#k`.
 *
 * The folder of a run that did not finish can be read up to its last whole value.
 * @param lengths tokens of each sequence of the only batch, where the header did not record them.
 * @throws `BAD_DUMP` naming the line at fault, or for values of another size than the index lists,
 * `BAD_ARGUMENT` for tokens that do not add up, `IO`.
 */
export async function openLlamacppSource(
  folder: string,
  lengths?: readonly number[],
): Promise<ForeignSource> {
  const file = join(folder, LLAMACPP_INDEX);
  const text = await readRegularText(file).catch((cause: unknown) => {
    throw ioError(OP, 'a readable index', file, cause);
  });
  const index = parseLlamacppIndex(text, file);
  const { notes, finished } = index;
  const parts = graphParts(index, lengths, file);
  if (parts.length === 0) throw importError('BAD_DUMP', 'at least one graph', 'none', file);
  const dataFile = join(folder, DATA);
  const dataBytes = await fileSizeBytes(OP, dataFile);
  const sized = index.values.map((value) => ({
    ...value,
    bytes: value.ne.reduce((all, size) => all * size, foreignBytes(value.type)),
  }));
  expectGapless(sized, file);
  const lost = sized.find(({ offset, bytes }) => offset + bytes > dataBytes);
  if (lost !== undefined && finished)
    throw importError(
      'BAD_DUMP',
      `${lost.bytes} bytes at ${lost.offset}`,
      `a file of ${dataBytes}`,
      `${lost.name} in ${dataFile}`,
    );
  const end = sized.reduce((most, { offset, bytes }) => Math.max(most, offset + bytes), 0);
  if (finished && dataBytes > end)
    throw importError(
      'BAD_DUMP',
      `the ${end} bytes that ${LLAMACPP_INDEX} lists`,
      `a file of ${dataBytes}; is it of another run?`,
      dataFile,
    );
  const whole = sized.filter(({ offset, bytes }) => offset + bytes <= dataBytes);
  const last = index.graphs.length - 1;
  if (!finished)
    notes.add(
      `The run did not finish: its last graph is there up to ${whole.filter(({ graph }) => graph === last).at(-1)?.name ?? 'its beginning'}.`,
    );
  const cut = whole.find(({ name }) => name.length === LONGEST_NAME && !isCutView(name));
  if (cut !== undefined)
    notes.add(
      `${cut.name} fills the ${LONGEST_NAME} characters of ggml's names: it may be cut, and others may share it. Give shorter names.`,
    );
  const byGraph = new Map<number, GraphPart[]>();
  for (const part of parts) byGraph.set(part.graph, [...(byGraph.get(part.graph) ?? []), part]);
  const named = whole.filter(({ name }) => !isCutView(name));
  const numbered = numberRepeats(named, finished ? undefined : last);
  const slabs = numbered.some((value) => cutBySequence(value, byGraph.get(value.graph)!, 0)?.kind === 'slab');
  const several = parts.some(({ sequence }) => sequence > 0);
  const steps = new Map(parts.map((part, step) => [part, step]));
  const unsplit = new Set<string>();
  const values = numbered.flatMap((value): ForeignValue[] => {
    const own = byGraph.get(value.graph)!;
    const { name, type, offset, bytes } = value;
    const read = async (): Promise<Uint8Array> => {
      const out = new Uint8Array(bytes);
      await withFile(OP, dataFile, (handle) => readInto(OP, handle, dataFile, offset, out));
      return out;
    };
    return own.flatMap((part, k): ForeignValue[] => {
      const cutOut = cutBySequence(value, own, k);
      if (cutOut === undefined) {
        unsplit.add(name);
        return [];
      }
      const { shape, rows, take } = cutOut;
      if (rows?.length === 0) return [];
      return [
        {
          name,
          step: steps.get(part)!,
          dtype: type,
          shape,
          ...(rows === undefined ? {} : { rows }),
          sharesCache: several && !slabs,
          read: async () => take(await read()),
        },
      ];
    });
  });
  if (unsplit.size > 0)
    notes.add(
      `Left out, since nothing says which part is which sequence's: ${[...unsplit].slice(0, 12).join(', ')}${unsplit.size > 12 ? ` and ${unsplit.size - 12} more` : ''}. With kv_unified = false attention has an axis of sequences.`,
    );
  return {
    kind: 'llama.cpp',
    name: basename(resolve(folder)),
    values,
    steps: parts.map(({ graph, sequence, start, tokens, outputs }) => ({
      count: tokens.length,
      tokens,
      call: graph,
      sequence,
      start,
      ...(outputs === undefined ? {} : { outputs }),
    })),
    isExecutionOrder: true,
    mayLackFirstRows: false,
    isUnfinished: !finished,
    mayLackValuesFrom: finished ? undefined : last,
    // A recorded list of sequences is no claim.
    claimed: numbered
      .filter(({ graph }) => index.batches[index.graphs[graph]!.batch]!.sequences === undefined)
      .map(({ name, ne, graph }) => ({
        name,
        shape: [...ne].reverse(),
        lengths: byGraph.get(graph)!.map(({ tokens }) => tokens.length),
        isAssumed: lengths === undefined,
      })),
    misfitHint:
      lengths === undefined && index.batches.every(({ sequences }) => sequences === undefined)
        ? 'Had the batch several sequences? This folder does not say: give their lengths with --sequences, or record them with begin(batch)'
        : undefined,
    producer: index.producer,
    notes: [...notes],
    [Symbol.asyncDispose]: async () => {},
  };
}

/** Values lie one after the other: a hole is that of a line which the index has lost. */
function expectGapless(values: readonly (IndexedValue & { bytes: number })[], file: string): void {
  let end = 0;
  for (const [at, { name, offset, bytes }] of values.entries()) {
    if (offset > end) {
      const before = at === 0 ? 'as the first value' : `behind ${values[at - 1]!.name}`;
      throw importError(
        'BAD_DUMP',
        `${name} ${before}, at byte ${end} of ${DATA}`,
        `${offset}: the line of a value of ${offset - end} bytes is missing before it`,
        file,
      );
    }
    end = Math.max(end, offset + bytes);
  }
}

/** Views and copies of other values, whose closing bracket ggml cut off: none of the program's own names. */
function isCutView(name: string): boolean {
  return name.length === LONGEST_NAME && name.includes(' (') && !name.endsWith(')');
}

/**
 * Gives all but the last value of a name in a graph a number. @param unfinished graph that ended early: of a
 * name that has more values in other blocks or graphs, the last is not known to be it.
 */
function numberRepeats<T extends IndexedValue>(values: readonly T[], unfinished: number | undefined): T[] {
  const counts = new Map<string, number>();
  const key = ({ graph, name }: IndexedValue): string => `${graph} ${name}`;
  // `norm` of the whole model is none of the blocks' `norm-0`.
  const kind = (name: string): string => name.replace(/-\d+$/, '-');
  for (const value of values) counts.set(key(value), (counts.get(key(value)) ?? 0) + 1);
  const most = new Map<string, number>();
  for (const value of values)
    most.set(kind(value.name), Math.max(most.get(kind(value.name)) ?? 0, counts.get(key(value))!));
  const seen = new Map<string, number>();
  return values.map((value) => {
    const place = seen.get(key(value)) ?? 0;
    const count = counts.get(key(value))!;
    seen.set(key(value), place + 1);
    const mayGoOn = value.graph === unfinished && count < most.get(kind(value.name))!;
    return place === count - 1 && !mayGoOn ? value : { ...value, name: `${value.name}#${place}` };
  });
}
