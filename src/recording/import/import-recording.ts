/** Makes a recording of a folder that `dumps/llamacpp/zayascope_recording.h` wrote in a program of others. */
import { type FileHandle, open } from 'node:fs/promises';
import { basename, join, resolve } from 'node:path';
import { storedBytes } from '../../dump/dtypes.js';
import type { DumpCall, DumpDescription } from '../../dump/format.js';
import type { DumpSequence } from '../../dump/sequences.js';
import { DumpWriter } from '../../dump/writer.js';
import { elementCount } from '../../graph/shape.js';
import { openGgufFile } from '../../models/layout/source.js';
import type { NativeRecorded } from '../../native-llama.js';
import { packageVersion } from '../../package-version.js';
import { readRegularText } from '../../regular-file.js';
import { ioError, readInto } from '../../weights/file-access.js';
import { weightsSha256 } from '../../weights/identity.js';
import { graphFile, rolesOf } from '../record/graph-file.js';
import { type GraphRows, rowCount } from '../record/graph-rows.js';
import { GraphCollector, valueSizes } from '../record/recorded-graph.js';
import { planTaps, type TapPlan } from '../record/tap-plan.js';
import { ValueWriter } from '../record/value-writer.js';
import {
  badLine,
  type HeaderGraph,
  type HeaderIndex,
  type HeaderValue,
  isRecordedIndex,
  parseHeaderIndex,
} from './header-index.js';
import { HeaderRows } from './header-rows.js';

const OP = 'importRecording';
const INDEX = 'index.jsonl';
const DATA = 'tensors.bin';
const TOKENS = 'inp_tokens';

/** Options of {@link importRecording}. */
export interface ImportRecordingOptions {
  /** Folder of the recording; made if absent. */
  out: string;
  /** The GGUF file that ran: its identity goes into the manifest. Default: none. */
  model?: string | undefined;
  /** Replaces a dump that is there. Default false. */
  overwrite?: boolean;
}

/** What was imported. */
export interface ImportedRecording {
  out: string;
  /** `partial` where the program did not finish. */
  status: 'complete' | 'partial';
  /** The program's own words for its model; absent where it said none. */
  description?: string;
  graphs: number;
  nodes: number;
  taps: number;
  sequences: number;
  tokens: number;
}

/** Whether a folder is one that `zayascope_recording.h` wrote. */
export async function isRecordedFolder(folder: string): Promise<boolean> {
  const text = await readRegularText(join(folder, INDEX)).catch(() => '');
  return isRecordedIndex(text);
}

/**
 * Reads a folder of `zayascope_recording.h`: graphs, values and rows become a recording as `record` writes
 * it. Of a run that did not finish, what is there up to the last whole value.
 *
 * @throws `BAD_DUMP` naming the line at fault; `IO`; `BAD_CHECKPOINT` for the model.
 */
export async function importRecording(
  folder: string,
  { out, model, overwrite = false }: ImportRecordingOptions,
): Promise<ImportedRecording> {
  const file = join(folder, INDEX);
  const text = await readRegularText(file).catch((cause: unknown) => {
    throw ioError(OP, 'a readable index', file, cause);
  });
  const index = parseHeaderIndex(text, file);
  const dataFile = join(folder, DATA);
  const data = await open(dataFile).catch((cause: unknown) => {
    throw ioError(OP, 'readable values', dataFile, cause);
  });
  try {
    const run = await collect(index, data, dataFile, file);
    const gguf = model === undefined ? undefined : await openGgufModel(model);
    const description = describe(index, run, folder, gguf?.identity);
    await using writer = await DumpWriter.create(out, description, { overwrite, graph: true });
    const weights = gguf?.stored ?? namedWeights(run.collector);
    await writer.writeGraph(graphFile(weights, run.collector, run.plan));
    await writeValues(writer, run, data, dataFile, file);
    if (run.isWhole) await writer.finish();
    else await writer.abort();
    const { tensors } = run.collector;
    return {
      out,
      status: run.isWhole ? 'complete' : 'partial',
      description: index.model,
      graphs: run.graphs.length,
      nodes: tensors.filter(({ kind, id }) => kind === 'node' && run.plan.values.has(id)).length,
      taps: run.plan.taps.length,
      sequences: run.sequences.length,
      tokens: run.rows.reduce((sum, rows) => sum + rowCount(rows), 0),
    };
  } finally {
    await data.close();
  }
}

/** The file that ran, and what a manifest says of it. */
async function openGgufModel(model: string): Promise<{
  stored: Awaited<ReturnType<typeof openGgufFile>>['stored'];
  identity: DumpDescription['model'];
}> {
  const { gguf, stored } = await openGgufFile(model);
  const architecture = gguf.metadata['general.architecture']?.value;
  return {
    stored,
    identity: {
      name: basename(model),
      layout: `gguf ${typeof architecture === 'string' ? architecture : 'of an unknown architecture'}`,
      weightsSha256: await weightsSha256(stored),
    },
  };
}

/** What a folder holds, ready to be written. */
interface HeaderRun {
  collector: GraphCollector;
  graphs: readonly HeaderGraph[];
  rows: readonly GraphRows[];
  sequences: readonly DumpSequence[];
  plan: TapPlan;
  isWhole: boolean;
}

async function collect(
  index: HeaderIndex,
  data: FileHandle,
  dataFile: string,
  file: string,
): Promise<HeaderRun> {
  const { graphs, isWhole } = wholeGraphs(index, (await data.stat()).size, file);
  if (graphs.length === 0) throw badLine('a graph with tokens', 'none', file);
  const collector = new GraphCollector();
  const follow = new HeaderRows(file);
  const rows: GraphRows[] = [];
  for (const [graph, { batch, tensors, values }] of graphs.entries()) {
    const places = new Map(values.map((value) => [value.id, value]));
    for (const tensor of tensors) {
      const value = places.get(tensor.id);
      const isRows = tensor.kind === 'input' && value !== undefined && ROW_INPUTS.has(tensor.name!);
      const bytes = isRows ? await readValue(value, data, dataFile) : undefined;
      collector.add({ ...tensor, graph, bytes });
    }
    rows.push(follow.of(batch, index.batches, collector.rowInputs[graph]!, graph));
  }
  const plan = planTaps(collector, rows.map(rowCount));
  return { collector, graphs, rows, sequences: follow.sequences, plan, isWhole };
}

/** What says which rows a graph has. */
const ROW_INPUTS: ReadonlySet<string> = new Set([TOKENS, 'inp_pos']);

/**
 * The graphs up to the first node whose value is not there. What moves a cache before a batch is a graph
 * without tokens: it goes with the one that follows.
 */
function wholeGraphs(
  { graphs, isFinished }: HeaderIndex,
  size: number,
  file: string,
): { graphs: HeaderGraph[]; isWhole: boolean } {
  const told = new Set<number>();
  for (const { id, offset, bytes } of graphs.flatMap(({ values }) => values))
    if (offset + bytes <= size) told.add(id);
  const lost = graphs
    .flatMap(({ tensors }) => tensors)
    .find((tensor) => isRead(tensor) && !told.has(tensor.id));
  if (lost !== undefined && isFinished)
    throw badLine(`the value of ${lost.op} ${lost.name}`, `none in ${size} bytes of ${DATA}`, file);
  const whole: HeaderGraph[] = [];
  let before: Pick<HeaderGraph, 'tensors' | 'values'> = { tensors: [], values: [] };
  for (const graph of graphs) {
    const isThere = ({ id }: { id: number }) => lost === undefined || id < lost.id;
    const tensors = [...before.tensors, ...graph.tensors.filter(isThere)];
    const values = [...before.values, ...graph.values.filter(isThere)];
    before = { tensors, values };
    if (!tensors.some(({ name, kind }) => kind === 'input' && name === TOKENS)) continue;
    whole.push({ batch: graph.batch, tensors, values });
    before = { tensors: [], values: [] };
  }
  return { graphs: whole, isWhole: isFinished && before.tensors.length === 0 };
}

/** Whether a value is written of a tensor. */
function isRead({ kind, ne }: NativeRecorded): boolean {
  return kind === 'node' && !ne.includes(0);
}

async function readValue(
  { offset, bytes }: HeaderValue,
  data: FileHandle,
  dataFile: string,
): Promise<Uint8Array> {
  const out = new Uint8Array(bytes);
  await readInto(OP, data, dataFile, offset, out);
  return out;
}

async function writeValues(
  writer: DumpWriter,
  { collector, graphs, rows, plan }: HeaderRun,
  data: FileHandle,
  dataFile: string,
  file: string,
): Promise<void> {
  const { tensors } = collector;
  const writing = new ValueWriter(writer, plan, rows);
  for (const [graph, { values }] of graphs.entries()) {
    for (const value of values) {
      const tensor = tensors[value.id]!;
      if (!plan.values.has(tensor.id)) continue;
      const ne = valueSizes(tensor, tensors);
      const expected = storedBytes(tensor.type, elementCount(ne));
      if (value.bytes !== expected || ne.join() !== value.ne.join())
        throw badLine(`${expected} bytes of ${ne.join(' x ')} for ${tensor.name}`, `${value.bytes}`, file);
      await writing.take(graph, tensor, ne, await readValue(value, data, dataFile));
    }
    await writing.endGraph(graph);
  }
}

/** Weights by the names and types that the graph has, where no file is at hand. */
function namedWeights({ tensors }: GraphCollector): { tensors: ReadonlyMap<string, { dtype: string }> } {
  const weights = tensors.filter(({ kind }) => kind === 'weight');
  return { tensors: new Map(weights.map(({ name, type }) => [name, { dtype: type }])) };
}

function describe(
  { system, threads, model, batches }: HeaderIndex,
  { plan, rows, graphs, sequences }: HeaderRun,
  folder: string,
  identity: DumpDescription['model'] | undefined,
): DumpDescription {
  const calls: DumpCall[] = [];
  for (const [step, { batch }] of graphs.entries()) {
    if (batch === graphs[step - 1]?.batch) continue;
    const { tokens, positions } = batches[batch]!;
    const kind = positions.includes(0) ? 'prefill' : rows[step]!.every(isOneRow) ? 'decode' : 'chunk';
    calls.push({ step, kind, rows: tokens.length });
  }
  return {
    tier: 'full',
    producer: { name: 'zayascope_recording.h', version: '2', system, importer: packageVersion() },
    model: identity ?? { name: model ?? basename(resolve(folder)) },
    policy: { name: 'llama.cpp' },
    backend: { name: 'llama.cpp', threads },
    sequences,
    selection: { taps: '**', positions: 'all' },
    taps: plan.taps,
    roles: rolesOf(plan),
    order: 'execution',
    calls,
  };
}

function isOneRow({ position }: GraphRows[0]): boolean {
  return position.length === 1;
}
