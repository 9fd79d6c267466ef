import { readFile, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type ErrorCode, ZayascopeError } from '../errors.js';
import { INDEX_COLUMNS } from './arrow/columns.js';
import {
  DUMP_FORMAT,
  DUMP_VERSION,
  dataFileName,
  MANIFEST_FILE,
  type Manifest,
  type TapDtype,
  type TapInfo,
} from './format.js';

/** Writes `manifest.json` so that it is at all times either the old or the new one, whole. Throws `IO`. */
export async function writeManifest(dir: string, manifest: Manifest): Promise<void> {
  const temporary = join(dir, `.${MANIFEST_FILE}.tmp`);
  try {
    await writeFile(temporary, `${JSON.stringify(manifest, null, 1)}\n`);
    await rename(temporary, join(dir, MANIFEST_FILE));
  } catch (cause) {
    await rm(temporary, { force: true }).catch(() => {});
    throw new ZayascopeError(
      'IO',
      `writeDump: expected to write the manifest, got ${reason(cause)} (${MANIFEST_FILE})`,
      {
        op: 'writeDump',
        tensor: MANIFEST_FILE,
        cause,
      },
    );
  }
}

/** Reads and checks the manifest of a dump. Throws `IO` where there is none to read, `BAD_DUMP` naming the field at fault. */
export async function readManifest(dir: string): Promise<Manifest> {
  let text: string;
  try {
    text = await readFile(join(dir, MANIFEST_FILE), 'utf8');
  } catch (cause) {
    throw new ZayascopeError(
      'IO',
      `openDump: expected a readable ${MANIFEST_FILE}, got ${reason(cause)} (${dir})`,
      {
        op: 'openDump',
        tensor: MANIFEST_FILE,
        cause,
      },
    );
  }
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (cause) {
    throw new ZayascopeError(
      'BAD_DUMP',
      `openDump: expected JSON, got ${reason(cause)} (${dir}/${MANIFEST_FILE})`,
      {
        op: 'openDump',
        tensor: MANIFEST_FILE,
        cause,
      },
    );
  }
  checkManifest(value, new FieldCheck('BAD_DUMP', 'openDump', `${dir}/${MANIFEST_FILE}`));
  return value;
}

/** Throws `BAD_ARGUMENT` where a producer describes a dump that no reader would accept. */
export function checkNewManifest(manifest: Manifest, dir: string): void {
  checkManifest(manifest, new FieldCheck('BAD_ARGUMENT', 'writeDump', dir));
}

function checkManifest(value: unknown, check: FieldCheck): asserts value is Manifest {
  const manifest = check.object(value, 'the manifest');
  check.equal(manifest.format, [DUMP_FORMAT], 'format');
  check.equal(manifest.version, [DUMP_VERSION], 'version');
  check.equal(manifest.status, ['partial', 'complete'], 'status');
  check.equal(manifest.tier, ['full', 'stats', 'hash'], 'tier');
  check.string(manifest.created, 'created');
  if (manifest.status === 'complete' || manifest.steps !== undefined)
    check.integer(manifest.steps, 0, 'steps');
  else manifest.steps = 0;
  const producer = check.object(manifest.producer, 'producer');
  for (const key of ['name', 'version']) check.string(producer[key], `producer.${key}`);
  const model = check.object(manifest.model, 'model');
  for (const key of ['type', 'name', 'configSha256', 'weightsSha256', 'dtype'])
    check.string(model[key], `model.${key}`);
  check.object(model.config, 'model.config');
  check.string(check.object(manifest.policy, 'policy').name, 'policy.name');
  check.string(check.object(manifest.backend, 'backend').name, 'backend.name');
  const selection = check.object(manifest.selection, 'selection');
  for (const key of ['taps', 'positions']) check.string(selection[key], `selection.${key}`);
  for (const [k, sequence] of check.array(manifest.sequences, 'sequences').entries()) {
    const tokens = check.array(check.object(sequence, `sequences[${k}]`).tokens, `sequences[${k}].tokens`);
    for (const [t, token] of tokens.entries()) check.integer(token, 0, `sequences[${k}].tokens[${t}]`);
  }
  const names = new Set<unknown>();
  for (const [k, tap] of check.array(manifest.taps, 'taps').entries()) {
    checkTap(tap, `taps[${k}]`, check);
    if (names.has(tap.name)) check.fail(`taps[${k}].name`, 'a name that no other tap has', tap.name);
    names.add(tap.name);
  }
}

const INDEX_NAMES: readonly string[] = INDEX_COLUMNS;
const DTYPES: readonly TapDtype[] = ['F32', 'F16', 'BF16', 'I32'];

function checkTap(value: unknown, at: string, check: FieldCheck): asserts value is TapInfo {
  const tap = check.object(value, at);
  check.string(tap.name, `${at}.name`);
  // These would collide with other columns of the same file.
  if (tap.name === '' || INDEX_NAMES.includes(tap.name as string) || (tap.name as string).endsWith('#shape'))
    check.fail(`${at}.name`, 'the name of a tap', tap.name);
  if (tap.block !== null) check.integer(tap.block, 0, `${at}.block`);
  // The file follows from the block: a manifest cannot name any other, so none outside the folder.
  check.equal(tap.file, [dataFileName(tap.block as number | null)], `${at}.file`);
  check.equal(tap.dtype, DTYPES, `${at}.dtype`);
  check.equal(tap.scope, ['token', 'step'], `${at}.scope`);
  for (const [k, axis] of check.array(tap.axes, `${at}.axes`).entries())
    check.string(axis, `${at}.axes[${k}]`);
  const shape = check.array(tap.shape, `${at}.shape`);
  for (const [k, size] of shape.entries()) if (size !== null) check.integer(size, 1, `${at}.shape[${k}]`);
  const axes = shape.length + (tap.scope === 'token' ? 1 : 0);
  if ((tap.axes as unknown[]).length !== axes) check.fail(`${at}.axes`, `${axes} names`, tap.axes);
  const elements = shape.reduce<number>((product, size) => product * ((size as number | null) ?? 1), 1);
  if (elements > 2 ** 31 - 1) check.fail(`${at}.shape`, 'fewer than 2^31 elements per row', shape);
}

/** Checks of single fields; each throws with the field's name, what was expected and what came. */
class FieldCheck {
  readonly #code: ErrorCode;
  readonly #operation: string;
  readonly #where: string;

  constructor(code: ErrorCode, operation: string, where: string) {
    this.#code = code;
    this.#operation = operation;
    this.#where = where;
  }

  fail(field: string, expected: string, got: unknown): never {
    const shown = got === undefined ? 'nothing' : JSON.stringify(got);
    throw new ZayascopeError(
      this.#code,
      `${this.#operation}: expected ${expected} in ${field}, got ${shown.length > 80 ? `${shown.slice(0, 77)}...` : shown} (${this.#where})`,
      { op: this.#operation, tensor: MANIFEST_FILE },
    );
  }

  object(value: unknown, field: string): Record<string, unknown> {
    if (typeof value !== 'object' || value === null || Array.isArray(value))
      this.fail(field, 'an object', value);
    return value as Record<string, unknown>;
  }

  array(value: unknown, field: string): unknown[] {
    if (!Array.isArray(value)) this.fail(field, 'an array', value);
    return value;
  }

  string(value: unknown, field: string): void {
    if (typeof value !== 'string') this.fail(field, 'a string', value);
  }

  integer(value: unknown, least: number, field: string): void {
    if (!Number.isSafeInteger(value) || (value as number) < least)
      this.fail(field, `an integer from ${least}`, value);
  }

  equal(value: unknown, allowed: readonly unknown[], field: string): void {
    if (!allowed.includes(value))
      this.fail(field, allowed.map((entry) => JSON.stringify(entry)).join(' or '), value);
  }
}

function reason(cause: unknown): string {
  return cause instanceof Error ? cause.message : String(cause);
}
