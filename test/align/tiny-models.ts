/**
 * Tiny models of transformers with the same weights as GGUF files, dumped by the Python package and recorded.
 */
import { mkdtempSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type AlignResult, Dump, recordGguf } from '../../src/index.js';
import { compileProgram, runProgram } from '../llamacpp/libllama.js';
import { FILE_TYPES } from '../recording/models.js';
import { pythonJson } from '../reference/python.js';
import { ALL_TRUTH } from './truth.js';

/** What `make_models.py` is to make of one family. */
export interface ModelJob {
  family: string;
  folder: string;
  dumps?: Record<
    string,
    {
      inside?: boolean;
      changes?: Record<string, unknown>;
      fault?: string;
      decode?: number;
      sequences?: number;
    }
  >;
  ggufs?: Record<string, { type?: string; keys?: Record<string, unknown>; fault?: string }>;
  checkpoint?: boolean;
}

/** A folder of its own. */
export function newFolder(): string {
  return mkdtempSync(join(tmpdir(), 'zayascope-align-'));
}

/** By family: of each tensor of its GGUF file the weights of the model that it is made of. */
export type Sources = Readonly<Record<string, Readonly<Record<string, readonly string[]>>>>;

/** Runs the jobs in one Python process. @returns the tokens of every dump. */
export function makeModels(jobs: readonly ModelJob[]): number[] {
  return makeCheckpoints(jobs).tokens;
}

/** The same, with what the GGUF files are made of: of families whose checkpoint is wanted. */
export function makeCheckpoints(jobs: readonly ModelJob[]): { tokens: number[]; sources: Sources } {
  return pythonJson([join('test', 'align', 'make_models.py')], JSON.stringify(jobs));
}

/** Records a GGUF file on one thread, with a cache in F32. */
export async function recordTiny(model: string, tokens: readonly number[], out: string): Promise<string> {
  const { isSame } = await recordGguf({ model, tokens, threads: 1, keyType: 'F32', valueType: 'F32', out });
  if (!isSame) throw new Error(`${model}: logits differ with and without recording`);
  return out;
}

/** libllama's numbers of file types. */
const TYPES = { ...FILE_TYPES, Q2_K: 10 } as const;

/** What quantises a GGUF file by libllama. */
export async function quantiser(
  folder: string,
): Promise<(from: string, to: string, type: keyof typeof TYPES) => string> {
  const program = join(folder, 'quantise');
  await compileProgram(join(import.meta.dirname, 'quantise.cpp'), program);
  return (from, to, type) => {
    const { status, stderr } = runProgram(program, [from, to, String(TYPES[type])]);
    if (status !== 0) throw new Error(`quantise ended with ${status}: ${stderr}`);
    return to;
  };
}

/**
 * What is wrong with an alignment, by the table: pairs that it says otherwise, and those that it has and
 * align not.
 */
export async function judge(
  family: string,
  { pairs }: Pick<AlignResult, 'pairs'>,
  folders: { reference: string; recording: string },
): Promise<{ wrong: string[]; missed: string[]; right: number; known: number }> {
  await using reference = await Dump.open(folders.reference);
  await using recording = await Dump.open(folders.recording);
  const graph = (await recording.graph())!;
  const wanted = new Map<string, Set<string>>();
  const held = new Set(reference.taps.map(({ name }) => name));
  for (const [pattern, value] of ALL_TRUTH[family]!)
    for (const block of pattern.includes('{l}') ? [0, 1, 2] : [0]) {
      const tap = pattern.replaceAll('{l}', String(block));
      if (!held.has(tap)) continue;
      const found = nodesOf(graph, value.replaceAll('{l}', String(block)));
      if (found.length > 0) wanted.set(tap, new Set([...(wanted.get(tap) ?? []), ...found]));
    }
  const chosen = new Map(pairs.map(({ tap, from }) => [tap, from]));
  const wrong = pairs.filter(({ tap, from }) => !wanted.get(tap)?.has(from));
  return {
    wrong: wrong.map(
      ({ tap, from }) => `${tap} <- ${from}, not ${[...(wanted.get(tap) ?? ['anything'])].join(' or ')}`,
    ),
    missed: [...wanted.keys()].filter((tap) => !chosen.has(tap)),
    right: pairs.length - wrong.length,
    known: wanted.size,
  };
}

type Graph = NonNullable<Awaited<ReturnType<Dump['graph']>>>;

function nodesOf({ tensors }: Graph, value: string): string[] {
  const [, wanted, kind, name = value] = /^(?:([A-Z_]+) )?(weight):(.*)$/.exec(value) ?? [];
  const taps = tensors.filter(({ tap, src, op }) => {
    if (tap === undefined || (wanted !== undefined && op !== wanted)) return false;
    if (kind === undefined) return tap === name;
    return src.some((id) => {
      if (id === null) return false;
      const source = tensors[id]!;
      const root = source.viewSrc == null ? source : tensors[source.viewSrc]!;
      return root.weight === name;
    });
  });
  return taps.map(({ tap }) => tap!);
}
