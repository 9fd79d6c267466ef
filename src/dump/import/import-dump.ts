/** Turns values of another program into a dump of tier full. */
import { ZayascopeError } from '../../errors.js';
import { FAMILIES } from '../../families/families.js';
import { removeBegun } from '../folder.js';
import type { DumpModel, Manifest, RowIndex, TapOrder, TapSpec } from '../format.js';
import { compileNameMap, type NameMap } from '../names/name-map.js';
import {
  listNames,
  otherMap,
  type ResolvedTap,
  resolveNames,
  type UnmappedChoice,
} from '../names/resolve-names.js';
import { rowStats } from '../row-stats.js';
import { DumpWriter, type TapStats, type TapValue } from '../writer.js';
import { checkClaimedSequences } from './claimed-sequences.js';
import { type ForeignSource, toTapElements, UNKNOWN } from './foreign.js';
import { type ImportSequences, importSequences } from './import-steps.js';
import { type PlannedTap, planTap } from './plan-import.js';
import { selectionPattern } from './selection-pattern.js';
import { orderTaps } from './tap-order.js';
import { type ImportedNonFinite, ValueCount } from './value-count.js';

/** Options of {@link importDump}. */
export interface ImportOptions {
  /** Folder of the dump. */
  out: string;
  /** Which name is which tap. */
  map: NameMap;
  /**
   * Ids of all tokens of the sequence, where the source lacks them. Without any, `token_id` is 0 and the
   * manifest says so.
   */
  tokens?: readonly number[];
  /**
   * Taps of the model in execution order. Without them shapes are taken as they come, axes have no names, and
   * any tap name counts.
   */
  targets?: readonly TapSpec[];
  /** The model as far as it is known. */
  model?: Partial<DumpModel>;
  /**
   * Tap names or patterns (as in a map) in the order in which the values were computed; each tap must match
   * one. Default: what is known of the model, the map or the source.
   */
  order?: readonly string[];
  /** Default `fail`. */
  unmapped?: UnmappedChoice;
  /** Name and version of this program, for the manifest. */
  importer: { name: string; version: string };
  /** Default false. */
  overwrite?: boolean;
}

/** Kept in the manifest of a known model's values whose shapes nothing has checked. */
const NO_CONFIG =
  'No config (--config) was given: shapes are as the program has them, axes have no names. Commands that compare take the shapes of the other dump or of the model, and say what does not fit.';

/** What an import did. */
export interface ImportResult {
  out: string;
  /** `partial`: the run that wrote the source did not finish. */
  status: Manifest['status'];
  /** Taps written and the names that they came from. */
  taps: { tap: string; from: string }[];
  sequences: number;
  /** Forward steps (of a llama.cpp port: graphs), and tokens in all. */
  steps: number;
  tokens: number;
  tokensKnown: boolean;
  /**
   * What is known of the order of the taps: `natural` is by name, numbers as numbers; `unknown` where only
   * some are known.
   */
  order: TapOrder;
  /** Names that no rule knows; with `keep` they are among the taps. */
  unmapped: string[];
  /** Names whose tap had a better source. */
  superseded: string[];
  /** Names that the map knows to be no tap. */
  ignored: string[];
  /** What is not finite in the values that were written; null where everything is. */
  nonFinite: ImportedNonFinite | null;
  /** What the manifest holds as the producer's notes, and what is to be said of the values. */
  notes: string[];
}

/**
 * Imports a source. Everything is checked on names and shapes before the dump is begun; one block's values
 * are in memory at a time. Throws `BAD_ARGUMENT` for names, shapes, dtypes or tokens that do not fit,
 * `SHAPE_MISMATCH` for a layout, `BAD_DUMP` for damaged data, `IO`.
 */
export async function importDump(source: ForeignSource, options: ImportOptions): Promise<ImportResult> {
  const { out, map, targets, unmapped = 'fail', importer, overwrite = false } = options;
  const sequences = importSequences(source, options.tokens);
  const { steps } = sequences;
  const known = targets && new Map(targets.map((tap) => [tap.name, tap]));
  const compiled = compileNameMap(map);
  checkClaimedSequences(source, compiled, known);
  const names = resolveNames(source, steps.length, compiled, known, unmapped);
  const [shared, own] = splitBy(names.taps, showsOthersCache);
  const lacksFrom = source.mayLackValuesFrom;
  const planned = withHint(
    source.misfitHint,
    () => new Map(own.map((tap) => [tap.name, planTap(tap, steps, known?.get(tap.name), lacksFrom)])),
  );
  const { names: ordered, order } = orderTaps([...planned.keys()], {
    declared: options.order,
    model: known && [...known.keys()],
    family: FAMILIES.find(({ name }) => name === map.family)?.order,
    map: map.order,
    isExecution: source.isExecutionOrder === true,
  });
  const taps = ordered.map((name) => planned.get(name)!);
  const isOfFamily = map.family !== undefined && own.some(({ rule }) => rule !== undefined);
  const notes = [
    ...source.notes,
    ...mapNotes(source, map.name, names.unmapped),
    ...remarks(sequences, names.superseded, shared, taps),
    ...orderNotes(order),
    ...wholeNotes(own, taps, known),
    ...(known === undefined && isOfFamily ? [NO_CONFIG] : []),
    ...prefixNotes(own, taps, known),
  ];
  const kept = unmapped === 'keep' ? names.unmapped : [];
  const dropped = unmapped === 'drop' ? names.unmapped : [];
  const prefixes = own.filter(({ rule }) => rule?.prefix).map(({ name }) => name);
  const first = steps[0]!.start;
  const writer = await DumpWriter.create(
    out,
    {
      tier: 'full',
      producer: {
        ...source.producer,
        name: source.kind,
        version: UNKNOWN,
        importedBy: `${importer.name} ${importer.version}`,
        source: source.name,
        nameMap: map.name,
        ...(prefixes.length === 0 ? {} : { prefixes }),
        ...(kept.length === 0 ? {} : { unmapped: kept }),
        ...(dropped.length === 0 ? {} : { dropped }),
        ...(notes.length === 0 ? {} : { notes }),
      },
      model: {
        type: UNKNOWN,
        name: UNKNOWN,
        config: {},
        configSha256: UNKNOWN,
        weightsSha256: UNKNOWN,
        dtype: UNKNOWN,
        ...options.model,
      },
      policy: { name: UNKNOWN },
      backend: { name: UNKNOWN },
      sequences: sequences.tokens.map((tokens) => ({ tokens })),
      selection: {
        taps: selectionPattern(taps.map(({ spec }) => spec.name)),
        positions: first === 0 ? 'all' : `${first}:`,
      },
      taps: taps.map(({ spec }) => spec),
      // Execution is what a dump that says nothing means.
      ...(order === 'execution' ? {} : { order }),
    },
    { overwrite },
  );
  await using open = writer;
  let counted: ValueCount;
  try {
    counted = await writeSteps(open, taps, sequences);
  } catch (error) {
    // A dump that holds what came before the fault would look like one of a run that was cut off.
    await open.abort();
    await removeBegun(out);
    throw error;
  }
  const status = source.isUnfinished === true ? 'partial' : 'complete';
  await open.finish(undefined, {}, status);
  return {
    out,
    status,
    taps: taps.map(({ spec, from }) => ({ tap: spec.name, from })),
    sequences: sequences.tokens.length,
    steps: new Set(steps.map(({ call }) => call)).size,
    tokens: steps.reduce((sum, { count }) => sum + count, 0),
    tokensKnown: sequences.isKnown,
    order,
    unmapped: names.unmapped,
    superseded: names.superseded,
    ignored: names.ignored,
    nonFinite: counted.nonFinite,
    notes: [...notes, ...counted.notes()],
  };
}

/** Adds what a source says of layouts that do not fit to the message of one. */
function withHint<T>(hint: string | undefined, plan: () => T): T {
  try {
    return plan();
  } catch (cause) {
    if (hint === undefined || !(cause instanceof ZayascopeError) || cause.code !== 'SHAPE_MISMATCH')
      throw cause;
    throw new ZayascopeError(cause.code, `${cause.message}. ${hint}`, { op: 'importDump', cause });
  }
}

/**
 * True for a value over cache positions that may hold other sequences' too: which are whose, nothing says.
 */
function showsOthersCache({ rule, values }: ResolvedTap): boolean {
  return (
    rule?.layout?.some(({ op }) => op === 'visible') === true && values.some((value) => value?.sharesCache)
  );
}

/** Values that nothing has declared and whose first axis is not the tokens' are taken as one per step. */
function wholeNotes(
  own: readonly ResolvedTap[],
  taps: readonly PlannedTap[],
  known: ReadonlyMap<string, TapSpec> | undefined,
): string[] {
  const ruled = new Set(own.filter(({ rule }) => rule !== undefined).map(({ name }) => name));
  const whole = taps.filter(
    ({ spec: { name, scope } }) => scope === 'step' && !ruled.has(name) && !known?.has(name),
  );
  if (whole.length === 0) return [];
  const names = listNames(whole.map(({ from }) => from));
  return [`Taken as one value of the whole step, since its first axis is not one of tokens: ${names}.`];
}

/** What holds fewer entries than the config says, which its rule in the map allows. */
function prefixNotes(
  own: readonly ResolvedTap[],
  taps: readonly PlannedTap[],
  known: ReadonlyMap<string, TapSpec> | undefined,
): string[] {
  const mayBeCut = new Set(own.filter(({ rule }) => rule?.prefix).map(({ name }) => name));
  const cut = new Map<string, Set<string>>();
  for (const { spec } of taps) {
    const [held, whole] = [spec.shape.at(-1), known?.get(spec.name)?.shape.at(-1)];
    if (!mayBeCut.has(spec.name) || held === whole || whole == null || held == null) continue;
    const sizes = `${held} of the config's ${whole} entries`;
    cut.set(sizes, (cut.get(sizes) ?? new Set()).add(spec.name.replace(/^layers\.\d+/, 'layers.*')));
  }
  return [...cut].map(([sizes, names]) => `The first ${sizes} are held of ${[...names].join(', ')}.`);
}

function splitBy<T>(entries: readonly T[], isFirst: (entry: T) => boolean): [T[], T[]] {
  return [entries.filter(isFirst), entries.filter((entry) => !isFirst(entry))];
}

function remarks(
  { isKnown, steps }: ImportSequences,
  superseded: readonly string[],
  shared: readonly ResolvedTap[],
  taps: readonly PlannedTap[],
): string[] {
  const late = taps.filter(({ parts }) => parts.some((part) => part?.rows !== undefined));
  const all = steps.reduce((sum, { count }) => sum + count, 0);
  const asked = steps.reduce((sum, { count, outputs }) => sum + (outputs?.length ?? count), 0);
  return [
    ...(shared.length === 0
      ? []
      : [
          `Left out, since cache positions of several sequences lie in one row: ${listNames(shared.map(({ from }) => from))}. With kv_unified = false each sequence has its own.`,
        ]),
    ...(late.length === 0
      ? []
      : [
          `Computed for ${asked} of ${all} tokens, those of which logits were asked for (batch.logits[i]): ${late.length} values, first ${late[0]!.from}.`,
        ]),
    ...(isKnown
      ? []
      : [
          'Token ids are not known: token_id is 0 in every row, so that rows cannot be paired with those of a dump that has them (import with --tokens), nor text be shown.',
        ]),
    ...(superseded.length === 0
      ? []
      : [`Not used, since another value is the same tap: ${listNames(superseded)}.`]),
  ];
}

/** Says where another map knows more of the names. */
function mapNotes({ values }: ForeignSource, map: string, unmapped: readonly string[]): string[] {
  const names = new Map(values.map(({ name }) => [name, true]));
  const known = names.size - unmapped.length;
  const advice = unmapped.length === 0 ? '' : otherMap(map, names, known);
  return advice === '' ? [] : [`The map ${map} knows ${known} of ${names.size} names${advice}.`];
}

function orderNotes(order: TapOrder): string[] {
  if (order === 'execution' || order === 'declared') return [];
  const sorted =
    order === 'natural'
      ? 'taps are sorted by name, numbers as numbers'
      : 'taps that the model does not know come last, by name';
  return [
    `The order in which the values were computed is not known: ${sorted}. Verdicts about what comes first say so (import with --order).`,
  ];
}

async function writeSteps(
  writer: DumpWriter,
  taps: readonly PlannedTap[],
  { steps, tokens }: ImportSequences,
): Promise<ValueCount> {
  const found = new ValueCount();
  const blocks = [...new Set(taps.map(({ spec }) => spec.block))];
  for (const [number, { call, sequence, start, count }] of steps.entries()) {
    const index: RowIndex = {
      sequence: new Int32Array(count).fill(sequence),
      position: Int32Array.from({ length: count }, (_, row) => start + row),
      tokenId: Int32Array.from(tokens[sequence]!.slice(start, start + count)),
      step: new Int32Array(count).fill(call),
    };
    for (const block of blocks) {
      const values = new Map<string, TapValue>();
      const stats = new Map<string, TapStats>();
      for (const { spec, from, parts } of taps.filter((tap) => tap.spec.block === block)) {
        const part = parts[number];
        if (part === undefined) continue;
        const { value, layout, shape, rows } = part;
        const present = rows === undefined ? undefined : new Uint8Array(count);
        for (const row of rows ?? []) present![row] = 1;
        const data = layout.apply(toTapElements(await value.read(), value.dtype, from));
        const columns = shape.slice(spec.scope === 'token' ? 1 : 0).reduce((all, size) => all * size, 1);
        if (data.length !== columns * (spec.scope === 'token' ? (rows?.length ?? count) : 1))
          throw new ZayascopeError(
            'SHAPE_MISMATCH',
            `importDump: expected shape [${shape}], got ${data.length} elements (${from})`,
            { op: 'importDump', tensor: from },
          );
        const measured = rowStats(data, spec.dtype, columns);
        found.add(spec, measured);
        values.set(spec.name, {
          bytes: new Uint8Array(data.buffer, data.byteOffset, data.byteLength),
          shape,
          ...(present === undefined ? {} : { present }),
        });
        stats.set(spec.name, {
          count: columns,
          values: measured,
          ...(present === undefined ? {} : { present }),
        });
      }
      await writer.append(block, index, values);
      await writer.appendStats(index, stats);
    }
  }
  return found;
}
