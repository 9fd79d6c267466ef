import type { FieldCheck } from '../field-check.js';
import { blockElements, DTYPES_OF_VERSION_1, isQuantised, TAP_DTYPES } from './dtypes.js';
import {
  DUMP_FORMAT,
  DUMP_VERSION,
  dataFileName,
  GRAPH_FILE,
  type Manifest,
  NOISE_FILE,
  type TapDtype,
  type TapInfo,
} from './format.js';
import { tapNameFault } from './tap-name.js';

/** Fields that version 1 does not have: other programs may have used the names for something else. */
const FIELDS_OF_VERSION_2 = ['roles', 'notRun', 'order', 'edges', 'graph', 'calls', 'noise'] as const;
const IDENTITY = ['type', 'configSha256', 'weightsSha256', 'dtype'] as const;

/** Checks a parsed manifest; what version 1 lacks is removed from one of version 1. */
export function checkManifest(value: unknown, check: FieldCheck): asserts value is Manifest {
  const manifest = check.object(value, 'the manifest');
  check.equal(manifest.format, [DUMP_FORMAT], 'format');
  if (Number.isSafeInteger(manifest.version) && (manifest.version as number) > DUMP_VERSION)
    check.fail('version', `1 or ${DUMP_VERSION} (it was written by a newer Zayascope)`, manifest.version);
  check.equal(manifest.version, [1, DUMP_VERSION], 'version');
  const first = manifest.version === 1;
  check.equal(manifest.status, ['partial', 'complete'], 'status');
  check.equal(manifest.tier, ['full', 'stats', 'hash'], 'tier');
  check.string(manifest.created, 'created');
  if (manifest.status === 'complete' || manifest.steps !== undefined)
    check.integer(manifest.steps, 0, 'steps');
  else manifest.steps = 0;
  const producer = check.object(manifest.producer, 'producer');
  for (const key of ['name', 'version']) check.string(producer[key], `producer.${key}`);
  checkModel(manifest.model, first, check);
  check.string(check.object(manifest.policy, 'policy').name, 'policy.name');
  check.string(check.object(manifest.backend, 'backend').name, 'backend.name');
  const selection = check.object(manifest.selection, 'selection');
  for (const key of ['taps', 'positions']) check.string(selection[key], `selection.${key}`);
  for (const [k, sequence] of check.array(manifest.sequences, 'sequences').entries())
    checkSequence(sequence, `sequences[${k}]`, first, check);
  const names = new Set<unknown>();
  for (const [k, tap] of check.array(manifest.taps, 'taps').entries()) {
    checkTap(tap, `taps[${k}]`, first, check);
    if (names.has(tap.name)) check.fail(`taps[${k}].name`, 'a name that no other tap has', tap.name);
    names.add(tap.name);
  }
  if (first) for (const field of FIELDS_OF_VERSION_2) delete manifest[field];
  else checkAdditions(manifest, names, check);
}

function checkModel(value: unknown, first: boolean, check: FieldCheck): void {
  const model = check.object(value, 'model');
  check.string(model.name, 'model.name');
  for (const key of IDENTITY) if (first || model[key] !== undefined) check.string(model[key], `model.${key}`);
  if (first || model.config !== undefined) check.object(model.config, 'model.config');
}

function checkSequence(value: unknown, at: string, first: boolean, check: FieldCheck): void {
  const sequence = check.object(value, at);
  if (!first && sequence.tokens === undefined) {
    check.integer(sequence.length, 0, `${at}.length`);
    return;
  }
  const tokens = check.array(sequence.tokens, `${at}.tokens`);
  for (const [t, token] of tokens.entries()) check.integer(token, 0, `${at}.tokens[${t}]`);
  // One of both is the truth; the ids are.
  if (sequence.length !== undefined && !first) check.equal(sequence.length, [tokens.length], `${at}.length`);
}

function checkTap(value: unknown, at: string, first: boolean, check: FieldCheck): asserts value is TapInfo {
  const tap = check.object(value, at);
  const fault = tapNameFault(tap.name);
  if (fault !== undefined) check.fail(`${at}.name`, fault, tap.name);
  if (tap.block !== null) check.integer(tap.block, 0, `${at}.block`);
  // The file follows from the block: a manifest cannot name any other, so none outside the folder.
  check.equal(tap.file, [dataFileName(tap.block as number | null)], `${at}.file`);
  check.equal(tap.dtype, first ? DTYPES_OF_VERSION_1 : TAP_DTYPES, `${at}.dtype`);
  check.equal(tap.scope, ['token', 'step'], `${at}.scope`);
  for (const [k, axis] of check.array(tap.axes, `${at}.axes`).entries())
    check.string(axis, `${at}.axes[${k}]`);
  const shape = check.array(tap.shape, `${at}.shape`);
  for (const [k, size] of shape.entries()) if (size !== null) check.integer(size, 1, `${at}.shape[${k}]`);
  const axes = shape.length + (tap.scope === 'token' ? 1 : 0);
  if ((tap.axes as unknown[]).length !== axes) check.fail(`${at}.axes`, `${axes} names`, tap.axes);
  const elements = shape.reduce<number>((product, size) => product * ((size as number | null) ?? 1), 1);
  if (elements > 2 ** 31 - 1) check.fail(`${at}.shape`, 'fewer than 2^31 elements per row', shape);
  checkBlocks(tap.dtype as TapDtype, shape.at(-1), `${at}.shape`, check);
  for (const key of ['nullable', 'masked'] as const) {
    if (first) delete tap[key];
    else if (tap[key] !== undefined) check.boolean(tap[key], `${at}.${key}`);
  }
  if (tap.nullable === true && tap.scope !== 'token') check.fail(`${at}.nullable`, 'scope token', tap.scope);
}

/** Blocks of quantised types lie along the last axis. */
function checkBlocks(dtype: TapDtype, last: unknown, at: string, check: FieldCheck): void {
  if (!isQuantised(dtype) || last === null) return;
  const block = blockElements(dtype);
  if (typeof last !== 'number' || last % block !== 0)
    check.fail(at, `a last axis of a multiple of ${block}, the block of ${dtype},`, last);
}

function checkAdditions(
  manifest: Record<string, unknown>,
  names: ReadonlySet<unknown>,
  check: FieldCheck,
): void {
  const { roles, notRun, order, edges, graph, calls, noise } = manifest;
  if (roles !== undefined)
    for (const [role, list] of Object.entries(check.object(roles, 'roles')))
      for (const [k, name] of check.array(list, `roles.${role}`).entries())
        if (!names.has(name)) check.fail(`roles.${role}[${k}]`, 'the name of a tap', name);
  if (notRun !== undefined)
    for (const [k, entry] of check.array(notRun, 'notRun').entries()) {
      const { name, reason } = check.object(entry, `notRun[${k}]`);
      check.string(name, `notRun[${k}].name`);
      check.string(reason, `notRun[${k}].reason`);
    }
  if (order !== undefined) check.equal(order, ['execution', 'declared', 'natural', 'unknown'], 'order');
  if (edges !== undefined)
    for (const [k, edge] of check.array(edges, 'edges').entries()) {
      const pair = check.array(edge, `edges[${k}]`);
      if (pair.length !== 2) check.fail(`edges[${k}]`, 'a pair [from, to]', edge);
      for (const [end, index] of pair.entries()) check.index(index, names.size, `edges[${k}][${end}]`);
    }
  // As for taps: no name but this one, so none outside the folder.
  if (graph !== undefined) check.equal(check.object(graph, 'graph').file, [GRAPH_FILE], 'graph.file');
  if (noise !== undefined) check.equal(check.object(noise, 'noise').file, [NOISE_FILE], 'noise.file');
  if (calls !== undefined)
    for (const [k, entry] of check.array(calls, 'calls').entries()) {
      const call = check.object(entry, `calls[${k}]`);
      check.integer(call.step, 0, `calls[${k}].step`);
      check.equal(call.kind, ['prefill', 'decode', 'chunk'], `calls[${k}].kind`);
      check.integer(call.rows, 0, `calls[${k}].rows`);
    }
}
