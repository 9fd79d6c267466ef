import { randomUUID } from 'node:crypto';
import { mkdir, readdir, rename, rm, writeFile } from 'node:fs/promises';
import { basename, dirname, join, resolve } from 'node:path';
import { isQuantized } from '../../dtype.js';
import { UNKNOWN } from '../../dump/import/foreign.js';
import type { Dump } from '../../dump/reader.js';
import { badArgument, unmet, ZayascopeError } from '../../errors.js';
import { type Policy, requireNearest } from '../../graph/policy.js';
import { openModelSource } from '../../models/layout/source.js';
import { settingOf } from '../../models/runtime/model-policy.js';
import { checkPolicy } from '../../models/runtime/sites.js';
import { checkWeights } from '../../models/runtime/weights.js';
import { parsePositions } from '../../positions.js';
import { explained } from '../../regular-file.js';
import type { TensorInfo } from '../../weights/checkpoint.js';
import { ioError } from '../../weights/file-access.js';
import { weightsSha256 } from '../../weights/identity.js';
import type { SafetensorsDtype } from '../../weights/safetensors.js';
import { type TensorSource, type WrittenDtype, writeSafetensors } from '../../weights/safetensors-write.js';
import { tensorChunks } from '../../weights/tensor-data.js';
import { requireModelFit } from '../model-fit.js';
import { heldColumns } from '../replay/graft.js';
import { REPRO_FILES, REPRO_FORMAT, REPRO_VERSION, type ReproDescription } from './folder.js';
import { leafValue } from './leaves.js';
import { buildPiece, describeNodes, type Leaf, opTap, type PieceSource, requiredByName } from './piece.js';
import { reproReadme } from './readme.js';
import { type PrefixValue, readPrefix } from './values.js';
import { pieceVariants } from './variants.js';

/** Options of {@link writeRepro}. */
export interface ReproOptions {
  /** A dump of tier full, of any program: inputs and expected output are its values. */
  dump: Dump;
  /** The tap to reproduce, e.g. `layers.3.self_attn.o_proj`. */
  op: string;
  /** Model folder or GGUF file that has the weights. */
  model: string;
  policy: Policy;
  /** Folder to make; must be absent or empty. */
  out: string;
  /** Sequence of the dump; default 0. */
  sequence?: number;
  /**
   * Positions to compare, as `src/positions.ts` reads them; default `all`. The folder holds the tokens up to
   * the last of them.
   */
  positions?: string;
}

const OP = 'repro';

/**
 * Writes a folder that computes one value again without model and dump: the piece of graph between the value
 * and the nearest values that the dump holds, with their values, the weights it reads in their stored dtype,
 * and what the policy says there. The folder appears when it is whole.
 *
 * @throws `BAD_ARGUMENT` for a tap that is none, a policy that does not fit the model, a dump without
 * tensors, a sequence or positions that it lacks; `BAD_DUMP` where the dump lacks an input that no op can
 * compute;
 * `SHAPE_MISMATCH` where dump and model differ in sizes; `IO` for a folder that is not empty; what opening
 * the model throws.
 */
export async function writeRepro(options: ReproOptions): Promise<ReproDescription> {
  const { dump, policy, sequence = 0, positions: selection = 'all', out } = options;
  const model = await openModelSource(options.model);
  requireModelFit('repro', model, dump);
  const checked = checkWeights(model.checkpoint, model.config);
  requireNearest('repro', policy);
  checkPolicy(policy, model.config, checked.tensors);
  const { tokens, positions, ids } = chooseRows(dump, sequence, selection);
  const held = new Set(dump.taps.map(({ name }) => name));
  const source: PieceSource = {
    config: model.config,
    required: requiredByName(model.config),
    op: opTap(model.config, options.op),
    tokens,
    stored: new Map(checked.tensors.map(({ name, info }) => [name, info.dtype])),
    isGiven: (name) => held.has(name),
    columns: (name, shape) => heldColumns(dump, dump.tap(name), shape),
  };
  dump.tap(options.op);
  const setting = settingOf(policy, model.config);
  const base = buildPiece(source, setting);
  requireInputs(base.leaves, held, dump);
  const { settings, variants } = pieceVariants(source, setting, policy.name);
  const leaves = uniqueLeaves(variants.flatMap(({ piece }) => piece.leaves)).filter(
    ({ kind, name }) => kind !== 'tap' || held.has(name),
  );
  const weights = leaves
    .filter(({ kind }) => kind === 'weight')
    .map(({ name }) => model.checkpoint.tensors.get(name)!);
  const prefixes = [
    options.op,
    ...leaves.filter(({ kind }) => kind === 'tap').map(({ name }) => name),
  ].flatMap((name): [string, number][] => {
    const own = dump.tap(name).shape.at(-1);
    return dump.prefixes.has(name) && typeof own === 'number' ? [[name, own]] : [];
  });
  const identity = await weightsSha256(model.checkpoint);
  const { manifest } = dump;
  const description: ReproDescription = {
    format: REPRO_FORMAT,
    version: REPRO_VERSION,
    op: options.op,
    tokens,
    positions,
    prefixes: prefixes.length === 0 ? undefined : Object.fromEntries(prefixes),
    config: model.config,
    policy: { name: policy.name, settings },
    dump: {
      producer: producerWords(manifest),
      policy: manifest.policy.name,
      model: manifest.model.name,
    },
    model: {
      name: basename(resolve(options.model)),
      weightsSha256: identity,
      sameWeights:
        (manifest.model.weightsSha256 ?? UNKNOWN) === UNKNOWN
          ? null
          : identity === manifest.model.weightsSha256,
    },
    weights: Object.fromEntries(weights.map(({ name, dtype, shape }) => [name, { dtype, shape }])),
    graph: describeNodes(base.nodes),
  };
  const inputs: TensorSource[] = [];
  for (const leaf of leaves) {
    const value = await leafValue(leaf, {
      dump,
      sequence,
      tokens,
      ids,
      checkpoint: model.checkpoint,
      config: model.config,
    });
    if (value !== undefined) inputs.push(asSource(leaf.input, value));
  }
  const output = base.graph.outputs.get(options.op)!;
  const expected = await readPrefix(dump, options.op, sequence, tokens, output.shape);
  await writeFolder(out, async (folder) => {
    await writeSafetensors(join(folder, REPRO_FILES.inputs), inputs);
    await writeSafetensors(join(folder, REPRO_FILES.weights), weights.map(weightSource));
    await writeSafetensors(join(folder, REPRO_FILES.expected), [asSource(options.op, expected)]);
    await writeFile(join(folder, REPRO_FILES.readme), reproReadme(description));
    await writeFile(join(folder, REPRO_FILES.description), `${JSON.stringify(description, null, 1)}\n`);
  });
  return description;
}

/** E.g. `transformers 5.9.0`, or of an import `llama.cpp (imported from out/port)`. */
function producerWords({ producer }: Dump['manifest']): string {
  const { name, version, importedBy, source } = producer;
  const known = version === UNKNOWN ? name : `${name} ${version}`;
  if (importedBy === undefined) return known;
  return `${known} (imported${typeof source === 'string' ? ` from ${source}` : ''})`;
}

function chooseRows(dump: Dump, sequence: number, selection: string) {
  const { tier, sequences } = dump.manifest;
  const fail = (expected: string, got: string) => {
    throw badArgument(OP, expected, got, dump.dir);
  };
  if (tier !== 'full') fail('a dump of tier full', tier);
  const ids = sequences[sequence]?.tokens;
  if (ids === undefined) return fail(`a sequence from 0 to ${sequences.length - 1}`, String(sequence));
  const positions = parsePositions(selection, ids.length);
  return { ids, positions, tokens: positions.end };
}

/** What the piece reads of the blocks before must be in the dump: only its own block is built. */
function requireInputs(leaves: readonly Leaf[], held: ReadonlySet<string>, dump: Dump): void {
  const missing = leaves.find(({ kind, name }) => kind === 'tap' && !held.has(name));
  if (missing !== undefined)
    throw unmet('BAD_DUMP', OP, `${missing.name}, which the op reads, in the dump`, 'none', {
      where: dump.dir,
      tensor: missing.name,
    });
}

function uniqueLeaves(leaves: readonly Leaf[]): Leaf[] {
  // Variants load weights in other dtypes; the folder has them as they are stored.
  return [...new Map(leaves.map((leaf) => [leaf.input, leaf])).values()];
}

function asSource(name: string, { dtype, shape, data }: PrefixValue): TensorSource {
  // Quantised values were refused when they were read.
  return {
    name,
    dtype: dtype as WrittenDtype,
    shape,
    chunks: [new Uint8Array(data.buffer, data.byteOffset, data.byteLength)],
  };
}

/**
 * safetensors has no quantised dtypes: their blocks go in as bytes, and the description says what they are.
 */
function weightSource(info: TensorInfo): TensorSource {
  const chunks = tensorChunks(info);
  if (isQuantized(info.dtype)) return { name: info.name, dtype: 'I8', shape: [info.sizeBytes], chunks };
  return { name: info.name, dtype: info.dtype as SafetensorsDtype, shape: info.shape, chunks };
}

/** Fills a folder beside `out` and renames it, so that it is whole or absent. */
async function writeFolder(out: string, fill: (folder: string) => Promise<void>): Promise<void> {
  const found = await readdir(out).catch((cause: NodeJS.ErrnoException) => {
    if (cause.code === 'ENOENT') return [];
    throw ioError(OP, 'a new or empty folder', out, cause.code === 'ENOTDIR' ? 'a file' : cause);
  });
  if (found.length > 0) throw ioError(OP, 'a new or empty folder', out, `one with ${found[0]} in it`);
  const folder = join(dirname(resolve(out)), `.${basename(resolve(out))}.${randomUUID()}.partial`);
  try {
    await mkdir(folder, { recursive: true });
    await fill(folder);
    await rename(folder, out);
  } catch (error) {
    await rm(folder, { recursive: true, force: true }).catch(() => {});
    throw error instanceof ZayascopeError
      ? error
      : ioError(OP, 'a writable folder', out, explained(error as Error));
  }
}
