/** Tables of a report, made of what a diff and its companions found. */
import { toldApart } from '../../diff/format/non-finite.js';
import type { BlockReport, DiffReport, TapReport } from '../../diff/report.js';
import { tapDiffering, tapError, tapOpen } from '../../diff/report.js';
import { exceeds } from '../../diff/summary.js';
import type { LocatedOp } from '../../locate/faults/report.js';
import type { TapNoise } from '../../locate/noise/noise-floor.js';
import type { CellValue, PageTable, TableColumn } from '../page/data.js';

/** A column and how a row of `T` fills it. */
type Column<T> = readonly [
  key: string,
  label: string,
  kind: TableColumn['kind'],
  help: string,
  cell: (row: T) => CellValue,
];

function table<T>(rows: readonly T[], columns: readonly Column<T>[]): PageTable {
  return {
    columns: columns.map(([key, label, kind, help]) => ({ key, label, kind, help })),
    rows: rows.map((row) => columns.map(([, , , , cell]) => jsonCell(cell(row)))),
  };
}

/** JSON has no NaN and no infinities; six digits are more than a table shows. */
function jsonCell(value: CellValue): CellValue {
  if (typeof value !== 'number') return value;
  return Number.isFinite(value) ? Number(value.toPrecision(6)) : String(value);
}

/** What the table of taps shows beside the diff; null: not given. */
export interface TapCompanions {
  noise: ReadonlyMap<string, TapNoise> | null;
  located: ReadonlyMap<string, LocatedOp> | null;
}

/** One row per compared tap, in execution order; `tap` and `block` come first. */
export function tapTable(report: DiffReport, { noise, located }: TapCompanions): PageTable {
  const { failAbove, kind } = report;
  const error = kind === 'statistics' ? 'NMSE at least' : 'NMSE';
  const columns: Column<TapReport>[] = [
    ['tap', 'tap', 'text', 'name of the value; click for its tensors', ({ name }) => name],
    ['block', 'block', 'number', 'decoder block; none for embedding and head', ({ block }) => block],
    ['dtype', 'dtype', 'text', 'of the reference / the tested side', dtypes],
    ['error', error, 'error', errorMeaning(kind), tapError],
    ['differing', 'differing', 'number', 'entries (integers) or hashes that differ', differing],
  ];
  if (failAbove !== null)
    columns.push([
      'above',
      'limit',
      'text',
      `above: NMSE over ${failAbove}, or integers that differ`,
      (tap) => (exceeds(tap, failAbove) ? 'above' : tapOpen(tap) ? 'not known' : 'within'),
    ]);
  if (noise !== null)
    columns.push(
      [
        'noise',
        'noise NMSE',
        'error',
        "energy NMSE of the reference's own low-precision run",
        ({ name }) => noise.get(name)?.noiseNmse ?? null,
      ],
      [
        'ratio',
        'error / noise',
        'ratio',
        '‖error‖ / ‖noise‖, relative L2',
        ({ name }) => noise.get(name)?.ratio ?? null,
      ],
      ['drift', 'drift', 'text', 'judged by the noise floor', ({ name }) => noise.get(name)?.verdict ?? null],
    );
  if (located !== null)
    columns.push(
      [
        'local',
        'own error',
        'error',
        'energy NMSE of the op alone: recomputed from the tested inputs',
        ({ name }) => located.get(name)?.local ?? null,
      ],
      ['op', 'op', 'text', 'how the op fares by itself', ({ name }) => located.get(name)?.verdict ?? null],
    );
  if (kind === 'tensors')
    columns.push(
      [
        'maxAbs',
        'max abs',
        'error',
        'largest |tested − reference|',
        (tap) => (tap.kind === 'float' ? tap.metrics.maxAbs : null),
      ],
      [
        'cosine',
        'cosine',
        'number',
        'cosine of the angle between both tensors; blind to scale',
        (tap) => (tap.kind === 'float' ? tap.metrics.cosine : null),
      ],
      [
        'ulp',
        '> 1 ULP',
        'share',
        'share of elements more than one unit in the last place apart, in the coarser dtype',
        (tap) => (tap.kind === 'float' ? tap.ulp.shareOverOne : null),
      ],
      ['bits', 'same bits', 'share', 'share of elements with the same bits', sameBits],
      ['notFinite', 'NaN, Inf', 'text', 'NaNs and infinities of the reference / the tested side', notFinite],
      [
        'worst',
        'worst element',
        'text',
        'where the largest error stands: reference, then tested value',
        worst,
      ],
    );
  return table(report.tapReports, columns);
}

function dtypes({ dtypes: { reference, tested } }: TapReport): string {
  return reference === tested ? reference : `${reference} / ${tested}`;
}

function differing(tap: TapReport): number | null {
  return tapError(tap) === null ? tapDiffering(tap) : null;
}

function sameBits(tap: TapReport): number | null {
  if (tap.kind === 'float') return tap.metrics.bitEqual;
  if (tap.kind !== 'integer') return null;
  const { elements, differing: count } = tap.metrics;
  return elements === 0 ? 1 : 1 - count / elements;
}

function notFinite(tap: TapReport): string | null {
  if (tap.kind !== 'float') return null;
  const { nan, inf } = tap.metrics;
  const counts = [nan.reference + inf.reference, nan.tested + inf.tested];
  return counts[0] === 0 && counts[1] === 0 ? null : counts.join(' / ');
}

function worst(tap: TapReport): string | null {
  const place = tap.kind === 'float' ? tap.worst : tap.kind === 'integer' ? tap.first[0] : null;
  if (place === null || place === undefined) return null;
  const { sequence, position, index, reference, tested } = place;
  const where = `${sequence === 0 ? '' : `sequence ${sequence} `}position ${position}${index.length === 0 ? '' : ` [${index.join(', ')}]`}`;
  return `${where}: ${toldApart(reference, tested).join(', ')}`;
}

/** What the column of errors means. */
function errorMeaning(kind: DiffReport['kind']): string {
  return kind === 'statistics'
    ? 'the least energy NMSE that the statistics allow; the true one may be larger'
    : 'energy NMSE: Σ(tested − reference)² / Σ reference²';
}

/** One row per block, and for what comes before and after the blocks. */
export function blockTable({ blocks, kind }: DiffReport): PageTable {
  const error = kind === 'statistics' ? 'NMSE at least' : 'NMSE';
  return table<BlockReport>(blocks, [
    ['block', 'block', 'text', 'decoder block, or what comes before and after', ({ label }) => label],
    ['taps', 'taps', 'number', 'values compared', ({ taps }) => taps],
    kind === 'statistics'
      ? ['equal', 'equal statistics', 'number', 'values with the same statistics; they may differ', ({ equalStatistics }) => equalStatistics]
      : ['identical', 'identical', 'number', 'values with the same bits', ({ identicalTaps }) => identicalTaps],
    [
      'worst',
      `worst ${error}`,
      'error',
      'largest energy NMSE of the block',
      (block) => block.worst?.nmse ?? null,
    ],
    [
      'last',
      `last ${error}`,
      'error',
      'energy NMSE of what the block passes on',
      (block) => block.last?.nmse ?? null,
    ],
    ['differing', 'differing', 'number', 'integer entries or hashes that differ', (block) => block.differing],
    [
      'worstTap',
      'worst tap',
      'text',
      'where the largest error stands',
      ({ worst: found }) => (found === null || found.nmse === 0 ? null : found.tap),
    ],
  ]);
}

/** What one side lacks, or what does not fit together. */
export function unpairedTable({ unpaired }: DiffReport): PageTable {
  return table(unpaired, [
    ['tap', 'tap or file', 'text', 'what could not be paired', ({ tap, file }) => tap ?? `rows of ${file}`],
    ['reason', 'reason', 'text', 'why', ({ reason }) => reason],
    ['side', 'side', 'text', 'the side that lacks it', ({ side }) => side],
    ['rows', 'rows', 'number', 'rows concerned; 0: the whole tap', ({ rows }) => rows],
    ['example', 'first', 'text', 'the first of them', ({ example }) => example],
  ]);
}

/** Tokens that took another expert; the diff lists the first 1000. */
export function routingTable({ routing }: DiffReport): PageTable {
  return table(routing?.flips ?? [], [
    ['block', 'block', 'number', 'decoder block', ({ block }) => block],
    ['sequence', 'sequence', 'number', 'from 0', ({ sequence }) => sequence],
    ['position', 'position', 'number', 'token position, from 0', ({ position }) => position],
    ['reference', 'reference', 'number', "the reference's expert", ({ reference }) => reference],
    ['tested', 'tested', 'number', "the tested side's expert", ({ tested }) => tested],
    [
      'margin',
      'margin',
      'ratio',
      "lead of the reference's choice over the tested one in the reference's scores (where it holds none: over its next best)",
      ({ margin }) => margin,
    ],
  ]);
}

/** One row per token whose logits were compared. */
export function logitsTable({ logits }: DiffReport): PageTable {
  return table(logits?.tokens ?? [], [
    ['sequence', 'sequence', 'number', 'from 0', ({ sequence }) => sequence],
    ['position', 'position', 'number', 'token position, from 0', ({ position }) => position],
    ['kl', 'KL', 'error', 'KL(reference ‖ tested) of the next-token distributions, nats', ({ kl }) => kl],
    ['topReference', 'top-1 reference', 'number', 'most likely token id', ({ top1 }) => top1.reference],
    ['topTested', 'top-1 tested', 'number', 'most likely token id', ({ top1 }) => top1.tested],
    [
      'shared',
      'top-10 shared',
      'number',
      "of the reference's ten most likely tokens",
      ({ topShared }) => topShared,
    ],
    [
      'margin',
      'margin',
      'ratio',
      "distance of the reference's best two logits",
      ({ margin }) => margin.reference,
    ],
    [
      'change',
      'Δp',
      'ratio',
      "change of the probability of the reference's top token",
      ({ probabilityChange }) => probabilityChange,
    ],
  ]);
}
