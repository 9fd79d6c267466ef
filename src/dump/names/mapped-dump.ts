/** A dump with another program's names, seen under the tap names of a reference. */

import { badArgument, unmet, ZayascopeError } from '../../errors.js';
import { canDequantise } from '../dequantise.js';
import { isQuantised } from '../dtypes.js';
import type { DumpView } from '../dump-view.js';
import { copyElements, emptyLike, toFloat32 } from '../float.js';
import { isMasked, type TapInfo } from '../format.js';
import { fitShape, planLayout, squeezed } from '../import/layout.js';
import { selectionPattern } from '../import/selection-pattern.js';
import { type RowFilter, readTap, streamTap } from '../read-tap.js';
import type { FileRows, ReusableBuffer, TensorBatch } from '../reader.js';
import { type CompiledNameMap, compileNameMap, type NameMap, type NameRule } from './name-map.js';

/** A tap of the reference and the value that stands for it. */
interface MappedTap {
  /** As the diff sees it; `file` is the one that holds the value. */
  info: TapInfo;
  source: TapInfo;
  rule: NameRule;
}

/** A whole step of one value in the tap's layout. */
interface StepValue {
  name: string;
  first: number;
  data: TensorBatch['data'];
  shape: readonly number[];
}

/**
 * Shows `dump` under the names of `reference`, with layouts undone. Values whose name the map does not know
 * keep it.
 * @throws `BAD_ARGUMENT` for dumps that are not of tier full (statistics and hashes have no axes to put
 * right), and for a malformed map.
 */
export async function mapDump(dump: DumpView, map: NameMap, reference: DumpView): Promise<DumpView> {
  const other = [dump, reference].find(({ manifest }) => manifest.tier !== 'full');
  if (other !== undefined)
    throw badArgument(
      'diffDumps',
      'dumps of tier full to map names',
      `tier ${other.manifest.tier}`,
      other.dir,
    );
  const compiled = compileNameMap(map);
  const targets = new Map(reference.taps.map((tap) => [tap.name, tap]));
  const chosen = chooseSources(dump, compiled, targets);
  const blocks = blockCount(reference.taps);
  const known = (name: string): boolean => compiled.resolve(name, blocks).some(({ tap }) => targets.has(tap));
  // The ignore list is of the producer's names, which an import has replaced but for those that it kept.
  const { nameMap, unmapped } = dump.manifest.producer;
  const kept = new Set(Array.isArray(unmapped) ? unmapped : []);
  const isTap = (name: string): boolean => typeof nameMap === 'string' && !kept.has(name);
  const own = dump.taps.filter(
    ({ name }) => !known(name) && !chosen.has(name) && (isTap(name) || !compiled.ignores(name)),
  );
  const view = new MappedDump(dump, [...chosen.values()], own, compiled, reference.roles);
  await view.check();
  return view;
}

/** The best source of each tap of the reference. */
function chooseSources(
  dump: DumpView,
  map: CompiledNameMap,
  targets: ReadonlyMap<string, TapInfo>,
): Map<string, MappedTap> {
  const blocks = blockCount([...targets.values()]);
  const found = new Map<string, MappedTap & { priority: number }>();
  for (const source of dump.taps)
    for (const { tap, rule, priority } of map.resolve(source.name, blocks)) {
      const target = targets.get(tap);
      const known = found.get(tap);
      if (target === undefined || (known !== undefined && known.priority <= priority)) continue;
      const { dtype, file, nullable = false } = source;
      // Layouts move elements, which have no place of their own inside quantised blocks.
      const shown = isQuantised(dtype) && canDequantise(dtype) ? 'F32' : dtype;
      const masked = isMasked(source) || isMasked(target) || rule.masked === true;
      found.set(tap, { info: { ...target, dtype: shown, file, nullable, masked }, source, rule, priority });
    }
  return found;
}

function blockCount(taps: readonly TapInfo[]): number {
  return 1 + taps.reduce((most, { block }) => Math.max(most, block ?? -1), -1);
}

class MappedDump implements DumpView {
  readonly dir: string;
  readonly manifest: DumpView['manifest'];
  readonly misfits = new Map<string, string>();
  readonly prefixes: ReadonlySet<string>;
  readonly roles: DumpView['roles'];
  readonly #dump: DumpView;
  readonly #mapped: Map<string, MappedTap>;
  readonly #own: readonly TapInfo[];
  /** The step that was read last: a step is read in parts. */
  #last: StepValue | undefined;

  constructor(
    dump: DumpView,
    mapped: readonly MappedTap[],
    own: readonly TapInfo[],
    map: CompiledNameMap,
    roles: DumpView['roles'],
  ) {
    this.roles = roles;
    this.#dump = dump;
    this.#mapped = new Map(mapped.map((tap) => [tap.info.name, tap]));
    this.#own = own;
    this.dir = dump.dir;
    this.manifest = {
      ...dump.manifest,
      // The dump's own selection is of its producer's names; what it holds is what was asked for.
      selection: { ...dump.manifest.selection, taps: selectionPattern(this.taps.map(({ name }) => name)) },
    };
    this.prefixes = new Set(
      [...mapped.map(({ info }) => info), ...own]
        .map(({ name }) => name)
        .filter((name) => map.mayBePrefix(name) || dump.prefixes.has(name)),
    );
  }

  get taps(): readonly TapInfo[] {
    return [...[...this.#mapped.values()].map(({ info }) => info), ...this.#own];
  }

  tap(name: string): TapInfo {
    return this.#mapped.get(name)?.info ?? this.#dump.tap(name);
  }

  rows(name: string): Promise<FileRows> {
    return this.#dump.rows(this.#sourceName(name));
  }

  isWhole(name: string): Promise<boolean> {
    return this.#dump.isWhole(this.#sourceName(name));
  }

  stats(): ReturnType<DumpView['stats']> {
    return this.#dump.stats();
  }

  hashes(): ReturnType<DumpView['hashes']> {
    return this.#dump.hashes();
  }

  /**
   * Finds taps whose first value does not fit, and the sizes of those of which only the first entries are
   * there.
   */
  async check(): Promise<void> {
    for (const mapped of this.#mapped.values()) {
      const { info } = mapped;
      try {
        const rows = await this.rows(info.name);
        if (rows.position.length === 0) continue;
        if (isQuantised(info.dtype)) {
          this.misfits.set(info.name, `holds ${info.dtype}, whose blocks cannot be put into another layout`);
          continue;
        }
        const value = await this.#firstValue(mapped, rows);
        if (value === undefined) this.misfits.set(info.name, 'has no value in the first step');
        else if (this.prefixes.has(info.name) && info.shape.length > 0)
          mapped.info = { ...info, shape: [...info.shape.slice(0, -1), value.shape.at(-1)!] };
      } catch (error) {
        if (!(error instanceof ZayascopeError) || error.code !== 'SHAPE_MISMATCH') throw error;
        this.misfits.set(info.name, `has another layout: ${error.message}`);
      }
    }
  }

  async readRows(
    name: string,
    start: number,
    end: number,
    into?: ReusableBuffer,
  ): Promise<TensorBatch | undefined> {
    const mapped = this.#mapped.get(name);
    if (mapped === undefined) return this.#dump.readRows(name, start, end, into);
    const rows = await this.rows(name);
    const [first, stop] = mapped.source.nullable
      ? [start, await presentEnd(this.#dump, mapped.source, start, end)]
      : stepOf(rows, start);
    if (stop === start) return undefined;
    const perStep = mapped.info.scope === 'step';
    if (perStep && start !== stop - 1) return undefined;
    const value = await this.#stepValue(mapped, rows, first, stop);
    if (value === undefined) return undefined;
    const last = Math.min(end, stop);
    const width = value.data.length / (perStep ? 1 : stop - first);
    return {
      tap: mapped.info,
      dtype: mapped.info.dtype,
      shape: perStep ? [1, ...value.shape] : [last - start, ...value.shape.slice(1)],
      data: perStep ? value.data : value.data.subarray((start - first) * width, (last - first) * width),
      sequence: rows.sequence.subarray(start, last),
      position: rows.position.subarray(start, last),
      tokenId: rows.tokenId.subarray(start, last),
      step: rows.step.subarray(start, last),
    };
  }

  stream(name: string, filter: RowFilter = {}, into?: ReusableBuffer): AsyncGenerator<TensorBatch> {
    return streamTap(this, name, filter, into);
  }

  read(name: string, filter: RowFilter = {}): Promise<TensorBatch> {
    return readTap(this, name, filter);
  }

  /** The value of the first step, or of a nullable tap the first rows that are there. */
  async #firstValue(mapped: MappedTap, rows: FileRows): Promise<StepValue | undefined> {
    if (!mapped.source.nullable) return this.#stepValue(mapped, rows, ...stepOf(rows, 0));
    for (let row = 0; row < rows.position.length; row++) {
      const end = await presentEnd(this.#dump, mapped.source, row, row + 1);
      if (end > row) return this.#stepValue(mapped, rows, row, end);
    }
    return undefined;
  }

  #sourceName(name: string): string {
    return this.#mapped.get(name)?.source.name ?? name;
  }

  /** The value of the step of rows [first, end), or undefined where there is none. */
  async #stepValue(
    { info, source, rule }: MappedTap,
    rows: FileRows,
    first: number,
    end: number,
  ): Promise<StepValue | undefined> {
    const isKept = this.#last?.name === info.name && this.#last.first === first && !source.nullable;
    if (isKept) return this.#last;
    const stored = await readStep(this.#dump, source, first, end);
    if (stored === undefined) return undefined;
    const tokens = end - first;
    const visible = rows.position[end - 1]! + 1;
    const layout = planLayout(
      stored.shape,
      rule.layout ?? [],
      { tokens, visible, target: info.shape },
      source.name,
    );
    const lead = info.scope === 'token' ? tokens : null;
    const shape = fitShape(layout.shape, info.shape, lead, this.prefixes.has(info.name));
    if (shape === undefined)
      throw unmet(
        'SHAPE_MISMATCH',
        'mapDump',
        `shape [${[...(lead === null ? [] : [lead]), ...info.shape.map((size) => size ?? 'any')].join(', ')}]`,
        `[${squeezed(layout.shape).join(', ')}]`,
        { where: source.name, tensor: source.name, shapes: [layout.shape] },
      );
    this.#last = { name: info.name, first, data: layout.apply(stored.data), shape };
    return this.#last;
  }
}

/** Rows [first, end) of the step that row `row` belongs to. */
function stepOf({ step, sequence }: FileRows, row: number): [first: number, end: number] {
  const same = (other: number): boolean => step[other] === step[row] && sequence[other] === sequence[row];
  let first = row;
  let end = row + 1;
  while (first > 0 && same(first - 1)) first--;
  while (end < step.length && same(end)) end++;
  return [first, end];
}

/**
 * Reads a step's value whole, in memory of its own: [T, ...], or the value itself where it is one per step.
 */
async function readStep(
  dump: DumpView,
  source: TapInfo,
  first: number,
  end: number,
): Promise<{ shape: readonly number[]; data: TensorBatch['data'] } | undefined> {
  if (source.scope === 'step') {
    const batch = await dump.readRows(source.name, end - 1, end);
    return batch && { shape: batch.shape.slice(1), data: decoded(batch) };
  }
  const parts: TensorBatch[] = [];
  for (let row = first; row < end; ) {
    const batch = await dump.readRows(source.name, row, end);
    if (batch === undefined) return undefined;
    parts.push({ ...batch, data: decoded(batch) });
    row += batch.shape[0]!;
  }
  const [one] = parts as [TensorBatch];
  if (parts.length === 1) return { shape: one.shape, data: one.data };
  const data = emptyLike(
    one.data,
    parts.reduce((sum, part) => sum + part.data.length, 0),
  );
  let at = 0;
  for (const part of parts) {
    copyElements(data, part.data, at);
    at += part.data.length;
  }
  return { shape: [end - first, ...one.shape.slice(1)], data };
}

/** Elements as they lie, or of quantised blocks their values. */
function decoded({ data, dtype }: TensorBatch): TensorBatch['data'] {
  return isQuantised(dtype) && canDequantise(dtype) ? toFloat32(data, dtype) : data;
}

/** The end of the rows of a nullable tap that have a value, from `start` on and before `end`. */
async function presentEnd(dump: DumpView, source: TapInfo, start: number, end: number): Promise<number> {
  const batch = await dump.readRows(source.name, start, end);
  return start + (batch?.shape[0] ?? 0);
}
