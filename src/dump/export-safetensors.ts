import { badArgument, type ErrorCode, unmet, type ZayascopeError } from '../errors.js';
import { tapPattern } from '../tap-pattern.js';
import { checkReplaceable } from '../weights/atomic-file.js';
import { type TensorSource, type WrittenDtype, writeSafetensors } from '../weights/safetensors-write.js';
import { columnKind, storedShape } from './arrow/columns.js';
import { isQuantised, type TapDtype } from './dtypes.js';
import type { TapInfo } from './format.js';
import { type Dump, ReusableBuffer, type RowFilter } from './reader.js';

/**
 * Writes taps of a dump of tier full into one safetensors file, dtypes kept, streaming; the file appears
 * under its name when it is whole.
 *
 * Keys are tap names, rows of all steps and sequences in file order: shape [rows, ...]. Taps whose shape
 * varies, and those of scope `step`, get one key per step, `<tap>#<step>`, or `<tap>#<step>.<sequence>` in a
 * dump of several sequences. Metadata says which dump: model, policy, producer. Of a nullable tap the rows
 * that are there are written, and their positions as `<tap>#position`. Quantised blocks are written as U8,
 * with the bytes of the last axis; the metadata `dtype <tap>` names their type.
 * @param pattern tap pattern (`src/tap-pattern.ts`).
 * @returns the keys in the order of the dump.
 * Throws `IO` where `outFile` is anything but a safetensors file or nothing; `BAD_ARGUMENT` where no tap
 * matches, or none that matches has a row, or a tap varies in shape within a step; `BAD_DUMP`; `IO`.
 */
export async function exportSafetensors(dump: Dump, pattern: string, outFile: string): Promise<string[]> {
  const matches = tapPattern(pattern);
  const taps = dump.taps.filter((tap) => matches(tap.name));
  if (taps.length === 0)
    throw badArgument('exportDump', 'a pattern that matches a tap', `'${pattern}'`, dump.dir);
  await checkReplaceable('exportDump', outFile, 'a safetensors file', isSafetensors);
  const sources: TensorSource[] = [];
  for (const tap of taps) sources.push(...(await tapSources(dump, tap)));
  if (sources.every(({ shape }) => shape.includes(0)))
    throw badArgument(
      'exportDump',
      'a dump with rows',
      `none of ${taps[0]!.name}${taps.length === 1 ? '' : ` and ${taps.length - 1} more`} (the dump is ${dump.manifest.status})`,
      dump.dir,
    );
  const { model, policy, producer } = dump.manifest;
  const metadata = new Map([
    ['model', model.name],
    ...(model.weightsSha256 === undefined ? [] : [['weightsSha256', model.weightsSha256] as const]),
    ['policy', policy.name],
    ['producer', `${producer.name} ${producer.version}`],
    ...taps.flatMap(({ name, dtype }) => (isQuantised(dtype) ? [[`dtype ${name}`, dtype] as const] : [])),
  ]);
  await writeSafetensors(outFile, sources, metadata);
  return sources.map((source) => source.name);
}

/** The length of a header and its brace. */
function isSafetensors(start: Uint8Array): boolean {
  return start.length > 8 && start[8] === 0x7b && start[6] === 0 && start[7] === 0;
}

async function tapSources(dump: Dump, tap: TapInfo): Promise<TensorSource[]> {
  const { name } = tap;
  if (columnKind(tap) !== 'varying') return wholeTap(dump, tap);
  const dtype = writtenDtype(tap.dtype);
  const keyed = new Map<string, { shape: number[]; filter: RowFilter }>();
  const several = dump.manifest.sequences.length > 1;
  // Shapes stand in the header, before any data: one pass over the tap to learn them, another to copy it.
  for await (const part of dump.stream(name, {}, new ReusableBuffer())) {
    const filter = { step: part.step[0]!, sequence: part.sequence[0]! };
    const count = sameStep(part.step, part.sequence);
    if (count < part.shape[0]!)
      throw exportError('BAD_DUMP', tap, 'record batches of one step each', 'several steps in one');
    const key = `${name}#${filter.step}${several ? `.${filter.sequence}` : ''}`;
    const known = keyed.get(key);
    if (known === undefined) keyed.set(key, { shape: [...part.shape], filter });
    else if (part.shape.every((size, axis) => axis === 0 || size === known.shape[axis]))
      known.shape[0]! += count;
    else
      throw exportError(
        'BAD_ARGUMENT',
        tap,
        `rows of one shape in step ${filter.step}`,
        `[${known.shape}] and [${part.shape}]`,
      );
  }
  return [...keyed].map(([key, { shape, filter }]) => {
    // A value of a whole step is one row of the dump, but the row axis is not its own.
    const own = storedShape({ ...tap, shape: tap.scope === 'step' ? shape.slice(1) : shape }) as number[];
    return { name: key, dtype, shape: own, chunks: chunks(dump, name, filter) };
  });
}

/**
 * All rows of a tap of one shape; of a nullable one those that are there, and beside them their positions.
 */
async function wholeTap(dump: Dump, tap: TapInfo): Promise<TensorSource[]> {
  const { name } = tap;
  const { position } = await dump.rows(name);
  const source = (rows: number): TensorSource => ({
    name,
    dtype: writtenDtype(tap.dtype),
    shape: [rows, ...(storedShape(tap) as number[])],
    chunks: chunks(dump, name, {}),
  });
  if (!tap.nullable) return [source(position.length)];
  const there: number[] = [];
  for await (const part of dump.stream(name, {}, new ReusableBuffer())) there.push(...part.position);
  const positions = new Uint8Array(Int32Array.from(there).buffer);
  return [
    source(there.length),
    { name: `${name}#position`, dtype: 'I32', shape: [there.length], chunks: [positions] },
  ];
}

/** safetensors has no quantised dtypes: their blocks go in as bytes, and the metadata says what they are. */
function writtenDtype(dtype: TapDtype): WrittenDtype {
  return isQuantised(dtype) ? 'U8' : dtype;
}

async function* chunks(dump: Dump, name: string, filter: RowFilter): AsyncGenerator<Uint8Array> {
  for await (const { data } of dump.stream(name, filter, new ReusableBuffer()))
    yield new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
}

/** How many of the rows share step and sequence with the first. */
function sameStep(step: Int32Array, sequence: Int32Array): number {
  let count = 1;
  while (count < step.length && step[count] === step[0] && sequence[count] === sequence[0]) count++;
  return count;
}

function exportError(code: ErrorCode, tap: TapInfo, expected: string, got: string): ZayascopeError {
  return unmet(code, 'exportDump', expected, got, { where: tap.name, tensor: tap.name });
}
