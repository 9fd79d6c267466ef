import { stat } from 'node:fs/promises';
import { basename, resolve } from 'node:path';
import { type Dtype, isQuantized, sizeBytes } from '../../dtype.js';
import { badArgument, unmet, type ZayascopeError } from '../../errors.js';
import { elementCount } from '../../graph/shape.js';
import type { GgufValue } from '../../native.js';
import { convertTokenizer, type GgufTokenizer } from '../../text/gguf/convert-tokenizer.js';
import type { TensorInfo } from '../../weights/checkpoint.js';
import { convertTensor } from '../../weights/convert-tensor.js';
import { checkGgufTarget } from '../../weights/gguf-target.js';
import { type GgufTensorSpec, writeGguf } from '../../weights/gguf-write.js';
import type { ImportanceMatrix } from '../../weights/imatrix.js';
import { type UsableImportance, usableImportance } from '../../weights/importance.js';
import { tensorChunks } from '../../weights/tensor-data.js';
import { type ModelSource, openModelSource } from '../layout/source.js';
import { layoutsOf } from '../layouts.js';
import type { ModelConfig } from '../runtime/architecture.js';
import { checkWeights } from '../runtime/weights.js';
import type { DtypeFallback } from './layout.js';
import type { GgufType } from './types.js';

const OP = 'convertModel';

/** Options of {@link convertModel}. */
export interface ConvertOptions {
  type: GgufType;
  /** File to write; its name ends in `.gguf`. */
  out: string;
  /** Replace a file of that name. Default false. */
  overwrite?: boolean;
  /** Importance of columns, by GGUF name; see `readImportance`. */
  importance?: ImportanceMatrix;
  /** Called as data is written: bytes done and in all. */
  onProgress?: (doneBytes: number, totalBytes: number) => void;
  /** Stops the conversion (`CANCELLED`); no file is left. */
  signal?: AbortSignal;
}

/** What {@link convertModel} has written. */
export interface ConvertResult {
  out: string;
  type: GgufType;
  sizeBytes: number;
  tensors: number;
  parameters: number;
  dtypes: readonly { dtype: Dtype; tensors: number; sizeBytes: number }[];
  /** Tensors whose rows forced another dtype. */
  fallbacks: readonly DtypeFallback[];
  /** Rows of the embedding written, and in the source. */
  vocabulary: number;
  sourceVocabulary: number;
  hasTokenizer: boolean;
  /** What of the tokenizer the file cannot say, as sentences. */
  tokenizerNotes: readonly string[];
  /** Quantised tensors with importance, and without although importance was given. */
  weighted: number;
  unweighted: readonly string[];
  /**
   * Tensors whose importance is not used as the file has it, or leaves columns out; see `usableImportance`.
   */
  importance: readonly ({ tensor: string } & Omit<UsableImportance, 'values'>)[];
}

/**
 * Writes a model (either checkpoint layout, or a GGUF file in F32, F16 or BF16) as a GGUF file in the
 * half-layer dialect that the public llama.cpp branch loads, quantised by ggml; the dtypes are those of
 * `gguf-types.ts`. The vocabulary is trimmed to the tokenizer's, where there is one. Streams: memory does not
 * grow with the model.
 *
 * @throws errors of {@link openModelSource}; `BAD_ARGUMENT` for a quantised source, importance of another
 * size, a wrong file name; `BAD_CHECKPOINT` for values that the type cannot hold (beyond F16, not finite
 * where quantised) or a tokenizer larger than the embedding; `NO_SPACE`; `IO` for an existing file or a
 * failed write.
 */
export async function convertModel(path: string, options: ConvertOptions): Promise<ConvertResult> {
  const { type, out, importance, onProgress, signal } = options;
  const target = [OP, out, options.overwrite === true] as const;
  await checkGgufTarget(...target, []); // before anything is read
  const source = await openModelSource(path);
  const { lmHead } = checkWeights(source.checkpoint, source.config);
  checkPlain(source);
  const tokenizer = await tokenizerOf(source);
  const config = await writtenConfig(source, lmHead, tokenizer?.size);
  const { gguf } = layoutsOf(config);
  const plan = gguf.plan(config, type, basename(resolve(path)).replace(/\.gguf$/i, ''), tokenizer?.metadata);
  await checkGgufTarget(...target, plan.tensors);
  const quantised = plan.tensors.filter(({ dtype }) => isQuantized(dtype));
  const usable = new Map<string, UsableImportance>();
  for (const tensor of quantised) {
    const values = importance?.get(tensor.name);
    if (values === undefined) continue;
    checkImportance(tensor, values);
    usable.set(tensor.name, usableImportance(values, tensor.shape.length === 3 ? tensor.shape[0]! : 1));
  }
  await writeGguf(
    out,
    plan.metadata,
    plan.tensors,
    (tensor, index) => {
      const stored = source.checkpoint.tensors.get(plan.tensors[index]!.source.name)!;
      return convertTensor(tensor, stored, usable.get(tensor.name)?.values, signal);
    },
    onProgress,
  );
  return {
    out,
    type,
    sizeBytes: (await stat(out)).size,
    tensors: plan.tensors.length,
    parameters: plan.tensors.reduce((sum, { shape }) => sum + elementCount(shape), 0),
    dtypes: countDtypes(plan.tensors),
    fallbacks: plan.fallbacks,
    vocabulary: config.vocab_size,
    sourceVocabulary: source.config.vocab_size,
    hasTokenizer: tokenizer !== undefined,
    tokenizerNotes: tokenizer?.notes ?? [],
    weighted: usable.size,
    unweighted:
      importance === undefined
        ? []
        : quantised.filter(({ name }) => !usable.has(name)).map(({ name }) => name),
    importance: [...usable].flatMap(([tensor, { unreached, scaled, ignoredColumns }]) =>
      unreached + scaled + ignoredColumns === 0 ? [] : [{ tensor, unreached, scaled, ignoredColumns }],
    ),
  };
}

function checkPlain({ checkpoint }: ModelSource): void {
  for (const { name, dtype, file } of checkpoint.tensors.values())
    if (isQuantized(dtype))
      throw misuse(
        'a source in F32, F16 or BF16 (quantising twice adds error twice)',
        dtype,
        `${name} in ${file}`,
      );
}

/** Keys of the source's tokenizer: of a folder translated, of a GGUF file as they are. */
async function tokenizerOf({ path, metadata, config }: ModelSource): Promise<GgufTokenizer | undefined> {
  if (metadata === undefined) {
    const { bos_token_id: bos, eos_token_id: eos, pad_token_id: padding } = config;
    const first = typeof eos === 'object' ? eos?.[0] : eos;
    const ids = { bos: bos ?? undefined, eos: first, padding: padding ?? undefined };
    return convertTokenizer(path, ids);
  }
  const entries = Object.entries(metadata).filter(([key]) => key.startsWith('tokenizer.'));
  const tokens: GgufValue | undefined = metadata['tokenizer.ggml.tokens'];
  if (!Array.isArray(tokens?.value)) return undefined;
  return { metadata: Object.fromEntries(entries), size: tokens.value.length, notes: [] };
}

async function writtenConfig(
  { config, checkpoint, path }: ModelSource,
  lmHead: TensorInfo,
  tokens = config.vocab_size,
): Promise<ModelConfig> {
  if (tokens > config.vocab_size)
    throw unmet(
      'BAD_CHECKPOINT',
      OP,
      `a tokenizer of at most ${config.vocab_size} tokens, the rows of the embedding`,
      tokens,
      { where: path, tensor: 'model.embed_tokens.weight' },
    );
  const embedding = checkpoint.tensors.get('model.embed_tokens.weight')!;
  const isTied = lmHead === embedding || (config.tie_word_embeddings && (await sameData(lmHead, embedding)));
  return { ...config, vocab_size: tokens, tie_word_embeddings: isTied };
}

async function sameData(a: TensorInfo, b: TensorInfo): Promise<boolean> {
  if (a.dtype !== b.dtype || a.sizeBytes !== b.sizeBytes) return false;
  const others = tensorChunks(b);
  for await (const chunk of tensorChunks(a)) {
    const other = await others.next();
    if (other.done === true || Buffer.compare(chunk, other.value) !== 0) return false;
  }
  return true;
}

function checkImportance({ name, shape }: GgufTensorSpec, values: Float32Array): void {
  const columns = shape.at(-1)!;
  const expected = shape.length === 3 ? shape[0]! * columns : columns;
  if (values.length !== expected) throw misuse(`importance of ${expected} columns`, `${values.length}`, name);
}

function countDtypes(tensors: readonly GgufTensorSpec[]): ConvertResult['dtypes'] {
  const counts = new Map<Dtype, { dtype: Dtype; tensors: number; sizeBytes: number }>();
  for (const { dtype, shape } of tensors) {
    const count = counts.get(dtype) ?? { dtype, tensors: 0, sizeBytes: 0 };
    counts.set(dtype, {
      dtype,
      tensors: count.tensors + 1,
      sizeBytes: count.sizeBytes + sizeBytes(dtype, elementCount(shape)),
    });
  }
  return [...counts.values()].sort((a, b) => b.sizeBytes - a.sizeBytes);
}

function misuse(expected: string, got: string, where: string): ZayascopeError {
  return badArgument(OP, expected, got, where);
}
