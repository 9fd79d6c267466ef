/** An import made without the model's config, seen in the shapes that another dump gives its taps. */

import { isExact } from '../dtypes.js';
import type { DumpView } from '../dump-view.js';
import { isMasked, type TapInfo, type TapSpec } from '../format.js';
import { fitShape } from '../import/layout.js';
import { type RowFilter, readTap, streamTap } from '../read-tap.js';
import type { FileRows, ReusableBuffer, TensorBatch } from '../reader.js';

/** What is known of the taps of a model, from another dump or from its config. */
type Target = Pick<TapSpec, 'name' | 'scope' | 'axes' | 'shape' | 'dtype'> & { masked?: boolean };

/** Said of a tap whose shape could not be put right. */
export const WITHOUT_CONFIG = 'imported without --config';

/**
 * True for an import that was not told the model's config: its shapes are those of the program, which may
 * have axes of size 1 more or less, and heads and channels as one.
 */
export function isWithoutConfig({ manifest }: Pick<DumpView, 'manifest'>): boolean {
  const { config = {} } = manifest.model;
  return manifest.producer.importedBy !== undefined && Object.keys(config).length === 0;
}

/**
 * Shows two dumps in the same shapes where one was imported without a config: elements keep their order, as
 * when an import knows the config. What does not fit stays as it is.
 *
 * @param model taps as the model makes them, where it is at hand: they decide for both sides.
 */
export function fitDumps(
  reference: DumpView,
  tested: DumpView,
  model: readonly Target[] = [],
): [reference: DumpView, tested: DumpView] {
  const known = isWithoutConfig(reference) && !isWithoutConfig(tested) ? tested : reference;
  const targets = [...known.taps, ...model];
  const fitted = fitDump(tested, targets, reference.roles);
  return [fitDump(reference, targets, fitted.roles), fitted];
}

/**
 * Shows an import without a config in the shapes of `targets`, of which the last of a name counts. Any other
 * dump is returned as it is. @param roles of its taps where it states none.
 */
export function fitDump(dump: DumpView, targets: readonly Target[], roles?: DumpView['roles']): DumpView {
  if (!isWithoutConfig(dump)) return dump;
  const wanted = new Map(targets.map((tap) => [tap.name, tap]));
  const taps = dump.taps.map((tap) => fitted(tap, wanted.get(tap.name), dump.prefixes.has(tap.name)));
  const isSame = taps.every((tap, k) => tap === dump.taps[k]);
  return isSame && (dump.roles ?? roles) === dump.roles ? dump : new FittedDump(dump, taps, roles);
}

/** The dump without some of its taps, as if it did not hold them. */
export function withoutTaps(dump: DumpView, names: ReadonlySet<string>): DumpView {
  if (names.size === 0) return dump;
  const taps = dump.taps.filter(({ name }) => !names.has(name));
  return new FittedDump(dump, taps, undefined);
}

function fitted(tap: TapInfo, target: Target | undefined, isPrefix: boolean): TapInfo {
  if (target === undefined || tap.scope !== target.scope || isExact(tap.dtype) !== isExact(target.dtype))
    return tap;
  const { shape: own } = tap;
  const isKnown = own.every((size) => size !== null);
  // Sizes that vary are seen in the rows.
  const shape = isKnown ? fitShape(own, target.shape, null, isPrefix) : own.length === target.shape.length;
  if (shape === undefined || shape === false) return tap;
  const seen = target.shape.includes(null) || shape === true ? target.shape : shape;
  const masked = isMasked(tap) || isMasked(target);
  const isSame = String(seen) === String(own) && String(target.axes) === String(tap.axes);
  if (isSame && masked === isMasked(tap)) return tap;
  return { ...tap, shape: seen, axes: target.axes, ...(masked ? { masked } : {}) };
}

class FittedDump implements DumpView {
  readonly dir: string;
  readonly manifest: DumpView['manifest'];
  readonly taps: readonly TapInfo[];
  readonly prefixes: ReadonlySet<string>;
  readonly roles: DumpView['roles'];
  readonly misfits: ReadonlyMap<string, string> | undefined;
  readonly #dump: DumpView;
  readonly #taps: ReadonlyMap<string, TapInfo>;

  constructor(dump: DumpView, taps: readonly TapInfo[], roles: DumpView['roles']) {
    this.#dump = dump;
    this.#taps = new Map(taps.map((tap) => [tap.name, tap]));
    this.taps = taps;
    this.dir = dump.dir;
    this.manifest = { ...dump.manifest, taps };
    this.prefixes = dump.prefixes;
    this.roles = dump.roles ?? roles;
    this.misfits = dump.misfits;
  }

  tap(name: string): TapInfo {
    return this.#taps.get(name) ?? this.#dump.tap(name);
  }

  rows(name: string): Promise<FileRows> {
    return this.#dump.rows(name);
  }

  isWhole(name: string): Promise<boolean> {
    return this.#dump.isWhole(name);
  }

  stats(): ReturnType<DumpView['stats']> {
    return this.#dump.stats();
  }

  hashes(): ReturnType<DumpView['hashes']> {
    return this.#dump.hashes();
  }

  async readRows(
    name: string,
    start: number,
    end: number,
    into?: ReusableBuffer,
  ): Promise<TensorBatch | undefined> {
    const batch = await this.#dump.readRows(name, start, end, into);
    if (batch === undefined) return undefined;
    const tap = this.tap(name);
    const [rows, ...own] = batch.shape as [number, ...number[]];
    // A row of other sizes than the first keeps them: whoever compares says that it does not fit.
    const shape = fitShape(own, tap.shape, null, this.prefixes.has(name)) ?? own;
    return { ...batch, tap, shape: [rows, ...shape] };
  }

  stream(name: string, filter: RowFilter = {}, into?: ReusableBuffer): AsyncGenerator<TensorBatch> {
    return streamTap(this, name, filter, into);
  }

  read(name: string, filter: RowFilter = {}): Promise<TensorBatch> {
    return readTap(this, name, filter);
  }
}
