/**
 * The folder of a reproduction: `repro.json`, `inputs.safetensors`, `weights.safetensors`,
 * `expected.safetensors`, `README.md`. See docs/repro.md.
 */
import { join } from 'node:path';
import { DTYPES, type Dtype } from '../../dtype.js';
import { ZayascopeError } from '../../errors.js';
import { SITE_KINDS, siteKind } from '../../graph/policy.js';
import type { Shape } from '../../graph/shape.js';
import { parseConfig } from '../../models/architectures.js';
import type { ModelConfig } from '../../models/runtime/architecture.js';
import type { Checkpoint } from '../../weights/checkpoint.js';
import { openCheckpoint } from '../../weights/checkpoint.js';
import { describeValue } from '../../weights/describe-value.js';
import { readSmallFile } from '../../weights/file-access.js';
import { parseJsonObject } from '../../weights/json-object.js';

/** Value of `format` in `repro.json`. */
export const REPRO_FORMAT = 'zayascope-repro';
/** Value of `version` in `repro.json`. */
export const REPRO_VERSION = 1;
/** Names of the files. */
export const REPRO_FILES = {
  description: 'repro.json',
  inputs: 'inputs.safetensors',
  weights: 'weights.safetensors',
  expected: 'expected.safetensors',
  readme: 'README.md',
} as const;

const OP = 'readRepro';
const MAX_DESCRIPTION_BYTES = 16 * 1024 * 1024;
/** A mask of this many tokens squared is 4 GiB. */
const MAX_TOKENS = 32_768;

/** `repro.json`. */
export interface ReproDescription {
  format: typeof REPRO_FORMAT;
  version: typeof REPRO_VERSION;
  /** The tap that is reproduced. */
  op: string;
  /** Tokens of the one sequence, from its start. */
  tokens: number;
  /** Positions whose values are compared; all for a value that is no row of tokens. */
  positions: { start: number; end: number };
  /**
   * Entries of the last axis that the dump held of values of which it may hold the first ones only. Default:
   * every value is whole.
   */
  prefixes?: Record<string, number>;
  config: ModelConfig;
  /** The policy, and its values at the sites that matter to the op. */
  policy: { name: string; settings: Record<string, string> };
  /** Who computed inputs and expected output, and under which policy of its own. */
  dump: { producer: string; policy: string; model: string };
  /**
   * The model whose weights are in the folder. `sameWeights`: the dump says it was made with the same; null:
   * it does not say with which.
   */
  model: { name: string; weightsSha256: string; sameWeights: boolean | null };
  /** Weights in the dtype that the model stores; quantised ones lie in the file as bytes (I8). */
  weights: Record<string, { dtype: Dtype; shape: Shape }>;
  /** The piece of graph under the policy, in execution order: for people and other programs. */
  graph: unknown[];
}

/** A folder that has been read and checked; tensors are read when asked for. */
export interface Repro {
  dir: string;
  description: ReproDescription;
  inputs: Checkpoint;
  weights: Checkpoint;
  expected: Checkpoint;
}

/**
 * Opens a folder that `writeRepro` made.
 * @throws `IO` for a file that cannot be read, `BAD_DUMP` for a `repro.json` that is none, `BAD_CONFIG` for
 * its config, `BAD_CHECKPOINT` for a damaged tensor file.
 */
export async function openRepro(dir: string): Promise<Repro> {
  const file = join(dir, REPRO_FILES.description);
  const bytes = await readSmallFile(OP, file, MAX_DESCRIPTION_BYTES);
  const json = parseJsonObject(bytes, { code: 'BAD_DUMP', op: OP, where: file });
  const description = parseDescription(json, file);
  const [inputs, weights, expected] = await Promise.all(
    [REPRO_FILES.inputs, REPRO_FILES.weights, REPRO_FILES.expected].map((name) =>
      openCheckpoint(join(dir, name)),
    ),
  );
  return { dir, description, inputs: inputs!, weights: weights!, expected: expected! };
}

/** An error about `repro.json` or a tensor of the folder. */
export function badRepro(expected: string, got: string, where: string): ZayascopeError {
  return new ZayascopeError('BAD_DUMP', `${OP}: expected ${expected}, got ${got} (${where})`, {
    op: OP,
    tensor: where,
  });
}

function parseDescription(json: Record<string, unknown>, file: string): ReproDescription {
  const { format, version, op, tokens, positions, graph } = json;
  const bad = (expected: string, got: unknown) => badRepro(expected, describeValue(got), file);
  if (format !== REPRO_FORMAT) throw bad(`format to be "${REPRO_FORMAT}"`, format);
  if (version !== REPRO_VERSION) throw bad(`version to be ${REPRO_VERSION}`, version);
  if (typeof op !== 'string') throw bad('op to be the name of a value', op);
  if (!isCount(tokens) || tokens < 1 || tokens > MAX_TOKENS)
    throw bad(`tokens to be an integer from 1 to ${MAX_TOKENS}`, tokens);
  const { start, end } = object(positions, 'positions', file);
  if (!isCount(start) || !isCount(end) || start >= end || end > tokens)
    throw bad(`positions to be a range within the ${tokens} tokens`, `${String(start)}:${String(end)}`);
  if (!Array.isArray(graph)) throw bad('graph to be a list of nodes', graph);
  const policy = object(json.policy, 'policy', file);
  const dump = object(json.dump, 'dump', file);
  const model = object(json.model, 'model', file);
  return {
    format,
    version,
    op,
    tokens,
    positions: { start, end },
    ...(json.prefixes === undefined ? {} : { prefixes: parsePrefixes(json.prefixes, file) }),
    config: parseConfig(object(json.config, 'config', file), file),
    policy: { name: text(policy, 'policy.name', file), settings: parseSettings(policy.settings, file) },
    dump: {
      producer: text(dump, 'dump.producer', file),
      policy: text(dump, 'dump.policy', file),
      model: text(dump, 'dump.model', file),
    },
    model: {
      name: text(model, 'model.name', file),
      weightsSha256: text(model, 'model.weightsSha256', file),
      sameWeights: model.sameWeights === null ? null : model.sameWeights === true,
    },
    weights: parseWeights(json.weights, file),
    graph,
  };
}

function parseSettings(value: unknown, file: string): Record<string, string> {
  const settings = object(value, 'policy.settings', file);
  for (const [site, set] of Object.entries(settings)) {
    const kind = siteKind(site);
    const values: readonly string[] = Object.hasOwn(SITE_KINDS, kind) ? SITE_KINDS[kind] : [];
    if (!values.includes(set as string))
      throw badRepro(`${site} in policy.settings to be ${values.join(' or ')}`, describeValue(set), file);
  }
  return settings as Record<string, string>;
}

function parsePrefixes(value: unknown, file: string): Record<string, number> {
  const prefixes = object(value, 'prefixes', file);
  for (const [name, columns] of Object.entries(prefixes))
    if (!isCount(columns) || columns < 1)
      throw badRepro(`prefixes["${name}"] to be an integer from 1`, describeValue(columns), file);
  return prefixes as Record<string, number>;
}

function parseWeights(value: unknown, file: string): ReproDescription['weights'] {
  const weights = object(value, 'weights', file);
  for (const [name, entry] of Object.entries(weights)) {
    const { dtype, shape } = object(entry, `weights["${name}"]`, file);
    if (!(DTYPES as readonly unknown[]).includes(dtype))
      throw badRepro(`weights["${name}"].dtype to be a known dtype`, describeValue(dtype), file);
    if (!Array.isArray(shape) || !shape.every(isCount))
      throw badRepro(`weights["${name}"].shape to be a list of sizes`, describeValue(shape), file);
  }
  return weights as ReproDescription['weights'];
}

function object(value: unknown, key: string, file: string): Record<string, unknown> {
  if (typeof value !== 'object' || value === null || Array.isArray(value))
    throw badRepro(`${key} to be an object`, describeValue(value), file);
  return value as Record<string, unknown>;
}

/** The string at the last part of `path` in an object. */
function text(owner: Record<string, unknown>, path: string, file: string): string {
  const value = owner[path.slice(path.indexOf('.') + 1)];
  if (typeof value !== 'string') throw badRepro(`${path} to be a text`, describeValue(value), file);
  return value;
}

function isCount(value: unknown): value is number {
  return Number.isSafeInteger(value) && (value as number) >= 0;
}
