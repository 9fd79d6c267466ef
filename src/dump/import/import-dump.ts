/** Turns values of another program into a dump of tier full. */
import { ZayascopeError } from '../../errors.js';
import { ZAYA } from '../../families/zaya.js';
import type { DumpModel, RowIndex, TapOrder, TapSpec } from '../format.js';
import { compileNameMap, type NameMap } from '../names/name-map.js';
import { listNames, resolveNames, type UnmappedChoice } from '../names/resolve-names.js';
import { rowStats } from '../row-stats.js';
import { DumpWriter, type TapStats, type TapValue } from '../writer.js';
import { type ForeignSource, toTapElements, UNKNOWN } from './foreign.js';
import { type ImportSequence, importSequence } from './import-steps.js';
import { type PlannedTap, planTap } from './plan-import.js';
import { selectionPattern } from './selection-pattern.js';
import { orderTaps } from './tap-order.js';

/** Options of {@link importDump}. */
export interface ImportOptions {
  /** Folder of the dump. */
  out: string;
  /** Which name is which tap. */
  map: NameMap;
  /** Ids of all tokens of the sequence, where the source lacks them. Without any, `token_id` is 0 and the manifest says so. */
  tokens?: readonly number[];
  /** Taps of the model in execution order. Without them shapes are taken as they come, axes have no names, and any tap name counts. */
  targets?: readonly TapSpec[];
  /** The model as far as it is known. */
  model?: Partial<DumpModel>;
  /** Tap names or patterns (as in a map) in the order in which the values were computed; each tap must match one. Default: what is known of the model, the map or the source. */
  order?: readonly string[];
  /** Default `fail`. */
  unmapped?: UnmappedChoice;
  /** Name and version of this program, for the manifest. */
  importer: { name: string; version: string };
  /** Default false. */
  overwrite?: boolean;
}

/** What an import did. */
export interface ImportResult {
  out: string;
  /** Taps written and the names that they came from. */
  taps: { tap: string; from: string }[];
  /** Forward steps, and tokens in all. */
  steps: number;
  tokens: number;
  tokensKnown: boolean;
  /** What is known of the order of the taps: `natural` is by name, numbers as numbers; `unknown` where only some are known. */
  order: TapOrder;
  /** Names that no rule knows; with `keep` they are among the taps. */
  unmapped: string[];
  /** Names whose tap had a better source. */
  superseded: string[];
  /** Names that the map knows to be no tap. */
  ignored: string[];
  notes: string[];
}

/**
 * Imports a source. Everything is checked on names and shapes before the dump is begun; one block's values are in memory at a time.
 * Throws `BAD_ARGUMENT` for names, shapes, dtypes or tokens that do not fit, `SHAPE_MISMATCH` for a layout, `BAD_DUMP` for damaged data, `IO`.
 */
export async function importDump(source: ForeignSource, options: ImportOptions): Promise<ImportResult> {
  const { out, map, targets, unmapped = 'fail', importer, overwrite = false } = options;
  const sequence = importSequence(source, options.tokens);
  const known = targets && new Map(targets.map((tap) => [tap.name, tap]));
  const names = resolveNames(source, sequence.steps.length, compileNameMap(map), known, unmapped);
  const planned = new Map(
    names.taps.map((tap) => [tap.name, planTap(tap, sequence.steps, known?.get(tap.name))]),
  );
  const { names: ordered, order } = orderTaps([...planned.keys()], {
    declared: options.order,
    model: known && [...known.keys()],
    family: map.family === 'zaya' ? ZAYA.order : undefined,
    map: map.order,
    isExecution: source.isExecutionOrder === true,
  });
  const taps = ordered.map((name) => planned.get(name)!);
  const notes = [...source.notes, ...remarks(sequence, names.superseded), ...orderNotes(order)];
  const prefixes = names.taps.filter(({ rule }) => rule?.prefix).map(({ name }) => name);
  const first = sequence.steps[0]!.start;
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
      sequences: [{ tokens: sequence.tokens }],
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
  await writeSteps(open, taps, sequence);
  await open.finish();
  return {
    out,
    taps: taps.map(({ spec, from }) => ({ tap: spec.name, from })),
    steps: sequence.steps.length,
    tokens: sequence.steps.reduce((sum, { count }) => sum + count, 0),
    tokensKnown: sequence.isKnown,
    order,
    unmapped: names.unmapped,
    superseded: names.superseded,
    ignored: names.ignored,
    notes,
  };
}

function remarks({ isKnown }: ImportSequence, superseded: readonly string[]): string[] {
  return [
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
  { steps, tokens }: ImportSequence,
): Promise<void> {
  const blocks = [...new Set(taps.map(({ spec }) => spec.block))];
  for (const [step, { start, count }] of steps.entries()) {
    const index: RowIndex = {
      sequence: new Int32Array(count),
      position: Int32Array.from({ length: count }, (_, row) => start + row),
      tokenId: Int32Array.from(tokens.slice(start, start + count)),
      step: new Int32Array(count).fill(step),
    };
    for (const block of blocks) {
      const values = new Map<string, TapValue>();
      const stats = new Map<string, TapStats>();
      for (const { spec, from, parts } of taps.filter((tap) => tap.spec.block === block)) {
        const part = parts[step];
        if (part === undefined) continue;
        const { value, layout, shape } = part;
        const data = layout.apply(toTapElements(await value.read(), value.dtype, from));
        const columns = shape.slice(spec.scope === 'token' ? 1 : 0).reduce((all, size) => all * size, 1);
        if (data.length !== columns * (spec.scope === 'token' ? count : 1))
          throw new ZayascopeError(
            'SHAPE_MISMATCH',
            `importDump: expected shape [${shape}], got ${data.length} elements (${from})`,
            { op: 'importDump', tensor: from },
          );
        values.set(spec.name, {
          bytes: new Uint8Array(data.buffer, data.byteOffset, data.byteLength),
          shape,
        });
        stats.set(spec.name, { count: columns, values: rowStats(data, spec.dtype, columns) });
      }
      await writer.append(block, index, values);
      await writer.appendStats(index, stats);
    }
  }
}
