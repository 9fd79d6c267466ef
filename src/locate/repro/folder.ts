/**
 * The folder of a reproduction: `repro.json`, `inputs.safetensors`, `weights.safetensors`,
 * `expected.safetensors`, `README.md`. See docs/repro.md.
 */
import { join } from 'node:path';
import { DTYPES, type Dtype } from '../../dtype.js';
import { unmet, type ZayascopeError } from '../../errors.js';
import { FieldCheck } from '../../field-check.js';
import { SITE_KINDS, siteKind } from '../../graph/policy.js';
import type { Shape } from '../../graph/shape.js';
import { parseConfig } from '../../models/architectures.js';
import type { ModelConfig } from '../../models/runtime/architecture.js';
import type { Checkpoint } from '../../weights/checkpoint.js';
import { openCheckpoint } from '../../weights/checkpoint.js';
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
  const text = { code: 'BAD_DUMP', op: OP, where: file } as const;
  const description = parseDescription(parseJsonObject(bytes, text), file, new FieldCheck(text));
  const [inputs, weights, expected] = await Promise.all(
    [REPRO_FILES.inputs, REPRO_FILES.weights, REPRO_FILES.expected].map((name) =>
      openCheckpoint(join(dir, name)),
    ),
  );
  return { dir, description, inputs: inputs!, weights: weights!, expected: expected! };
}

/** An error about a tensor of the folder. */
export function badRepro(expected: string, got: string, where: string): ZayascopeError {
  return unmet('BAD_DUMP', OP, expected, got, { where, tensor: where });
}

function parseDescription(json: Record<string, unknown>, file: string, check: FieldCheck): ReproDescription {
  const tokens = check.integer(json.tokens, 1, 'tokens', MAX_TOKENS);
  const policy = check.object(json.policy, 'policy');
  const dump = check.object(json.dump, 'dump');
  const model = check.object(json.model, 'model');
  const description: ReproDescription = {
    format: check.equal(json.format, [REPRO_FORMAT], 'format'),
    version: check.equal(json.version, [REPRO_VERSION], 'version'),
    op: check.string(json.op, 'op'),
    tokens,
    positions: parsePositions(json.positions, tokens, check),
    config: parseConfig(check.object(json.config, 'config'), file),
    policy: {
      name: check.string(policy.name, 'policy.name'),
      settings: parseSettings(policy.settings, check),
    },
    dump: {
      producer: check.string(dump.producer, 'dump.producer'),
      policy: check.string(dump.policy, 'dump.policy'),
      model: check.string(dump.model, 'dump.model'),
    },
    model: {
      name: check.string(model.name, 'model.name'),
      weightsSha256: check.string(model.weightsSha256, 'model.weightsSha256'),
      sameWeights: model.sameWeights === null ? null : model.sameWeights === true,
    },
    weights: parseWeights(json.weights, check),
    graph: check.array(json.graph, 'graph'),
  };
  if (json.prefixes !== undefined) description.prefixes = parsePrefixes(json.prefixes, check);
  return description;
}

function parsePositions(value: unknown, tokens: number, check: FieldCheck): ReproDescription['positions'] {
  const positions = check.object(value, 'positions');
  const start = check.integer(positions.start, 0, 'positions.start');
  const end = check.integer(positions.end, 0, 'positions.end');
  if (start >= end || end > tokens)
    check.fail('positions', `a range within the ${tokens} tokens`, `${start}:${end}`);
  return { start, end };
}

function parseSettings(value: unknown, check: FieldCheck): Record<string, string> {
  const settings = check.object(value, 'policy.settings');
  for (const [site, set] of Object.entries(settings)) {
    const kind = siteKind(site);
    const values: readonly unknown[] = Object.hasOwn(SITE_KINDS, kind) ? SITE_KINDS[kind] : [];
    check.equal(set, values, `policy.settings["${site}"]`);
  }
  return settings as Record<string, string>;
}

function parsePrefixes(value: unknown, check: FieldCheck): Record<string, number> {
  const prefixes = check.object(value, 'prefixes');
  for (const [name, columns] of Object.entries(prefixes)) check.integer(columns, 1, `prefixes["${name}"]`);
  return prefixes as Record<string, number>;
}

function parseWeights(value: unknown, check: FieldCheck): ReproDescription['weights'] {
  const weights = check.object(value, 'weights');
  for (const [name, entry] of Object.entries(weights)) {
    const { dtype, shape } = check.object(entry, `weights["${name}"]`);
    check.equal(dtype, DTYPES, `weights["${name}"].dtype`);
    check.integers(shape, 0, `weights["${name}"].shape`);
  }
  return weights as ReproDescription['weights'];
}
