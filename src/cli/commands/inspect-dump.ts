import { stat } from 'node:fs/promises';
import { join } from 'node:path';
import { HASH_FILE, type Manifest, STATS_FILE, type TapInfo } from '../../dump/format.js';
import { Dump } from '../../dump/reader.js';
import { knownTokens, sequenceLengths } from '../../dump/sequences.js';
import { badArgument, ZayascopeError } from '../../errors.js';
import { tapPattern } from '../../tap-pattern.js';
import { shortSelection } from '../../text-table.js';
import { formatBytes, formatCount } from '../format-number.js';
import { fields, table } from '../table.js';
import { type TapTotals, tapTotals } from '../tap-totals.js';

/** What `inspect --json` prints of a dump. */
export interface DumpSummary {
  kind: 'dump';
  folder: string;
  manifest: Omit<Manifest, 'taps'>;
  files: readonly DumpFileSummary[];
  taps: readonly (TapInfo & Partial<TapTotals> & { sha256?: readonly string[] })[];
  /** True if the user asked for taps: then they are listed with their statistics or hashes. */
  listsTaps: boolean;
}

/** One file of a dump that holds tensors. */
export interface DumpFileSummary {
  name: string;
  taps: number;
  /** Token rows of its whole batches. */
  rows: number;
  sizeBytes: number;
  /**
   * `whole`, `cut` where it ends without a footer, `missing` where a partial dump lacks it, or why it cannot
   * be read.
   */
  state: string;
  /** True where it cannot be read, or contradicts the manifest. */
  isBad: boolean;
}

/**
 * Reads manifest, index columns and, for `pattern`, statistics of a dump. @throws `IO`, `BAD_DUMP`;
 * `BAD_ARGUMENT` for a pattern without a match.
 */
export async function summariseDump(folder: string, pattern: string | undefined): Promise<DumpSummary> {
  await using dump = await Dump.open(folder);
  const { taps: _, ...manifest } = dump.manifest;
  return {
    kind: 'dump',
    folder,
    manifest,
    files: await summariseFiles(dump),
    taps: pattern === undefined ? dump.taps : await describeTaps(dump, pattern),
    listsTaps: pattern !== undefined,
  };
}

async function summariseFiles(dump: Dump): Promise<DumpFileSummary[]> {
  const { tier } = dump.manifest;
  if (tier !== 'full') {
    const name = tier === 'hash' ? HASH_FILE : STATS_FILE;
    const records = async () => (tier === 'hash' ? await dump.hashes() : await dump.stats()).length;
    return [
      await summariseFile(dump, name, dump.taps.length, async () => ({
        rows: await records(),
        state: 'whole',
      })),
    ];
  }
  const files = new Map<string, TapInfo[]>();
  for (const tap of dump.taps) files.set(tap.file, [...(files.get(tap.file) ?? []), tap]);
  const values = await Promise.all(
    [...files].map(([name, taps]) =>
      summariseFile(dump, name, taps.length, async () => ({
        rows: (await dump.rows(taps[0]!.name)).position.length,
        state: (await dump.isWhole(taps[0]!.name)) ? 'whole' : 'cut',
      })),
    ),
  );
  const { graph, status } = dump.manifest;
  if (graph === undefined) return values;
  // The graph of a run that did not finish was not written yet.
  const own = await summariseFile(dump, graph.file, 0, async () => {
    await dump.graph();
    return { rows: 0, state: 'whole' };
  });
  return own.isBad && status === 'complete' ? [...values, own] : values;
}

async function summariseFile(
  { dir }: Dump,
  name: string,
  taps: number,
  read: () => Promise<{ rows: number; state: string }>,
): Promise<DumpFileSummary> {
  const found = await stat(join(dir, name)).catch(() => undefined);
  const sizeBytes = found?.size ?? 0;
  try {
    const { rows, state } = await read();
    return { name, taps, sizeBytes, rows, state: found === undefined ? 'missing' : state, isBad: false };
  } catch (error) {
    // A partial dump may have lost a file: that is what the user wants to see, together with the others.
    if (error instanceof ZayascopeError)
      return { name, taps, sizeBytes, rows: 0, state: error.message, isBad: true };
    throw error;
  }
}

async function describeTaps(dump: Dump, pattern: string): Promise<DumpSummary['taps']> {
  const matches = tapPattern(pattern);
  const taps = dump.taps.filter(({ name }) => matches(name));
  if (taps.length === 0) throw badArgument('inspect', 'a pattern that matches a tap', pattern);
  if (dump.manifest.tier === 'hash') {
    const hashes = await dump.hashes();
    const of = (name: string) => hashes.filter(({ tap }) => tap === name).map(({ sha256 }) => sha256);
    return taps.map((tap) => ({ ...tap, sha256: of(tap.name) }));
  }
  const totals = tapTotals(await dump.stats());
  return taps.map((tap) => ({ ...tap, ...totals.get(tap.name) }));
}

/** The summary for people. */
export function formatDump(summary: DumpSummary): string {
  const { manifest, files, taps } = summary;
  const { status, tier, created, producer, model, policy, backend, selection, sequences, steps } = manifest;
  const { name, version, ...producerDetails } = producer;
  const { name: policyName } = policy;
  const { name: backendName, ...backendDetails } = backend;
  const head = fields([
    ['dump', `${summary.folder}: ${status}, tier ${tier}, ${created}`],
    ['producer', `${name} ${version}${details(producerDetails)}`],
    ['model', `${model.name}${known(model.type, model.dtype)}`],
    ['config', model.configSha256 === undefined ? 'not known' : `SHA-256 ${model.configSha256}`],
    ['weights', model.weightsSha256 === undefined ? 'not known' : `identity ${model.weightsSha256}`],
    ['policy', policyName],
    ['backend', `${backendName}${details(backendDetails)}`],
    ['selection', `taps ${shortSelection(selection.taps)}, positions ${selection.positions}`],
    [
      knownTokens(sequences) === undefined ? 'positions' : 'tokens',
      sequenceLengths(sequences).map(formatCount).join(' + ') || 'none',
    ],
    ['steps', status === 'complete' ? String(steps) : 'not finished'],
    ...additions(manifest),
    ['taps', `${formatCount(taps.length)}${summary.listsTaps ? ' that match' : ''}${dtypes(taps)}`],
  ]);
  return `${head}\n\n${fileTable(files)}${summary.listsTaps ? `\n\n${tapTable(summary)}` : ''}`;
}

function details(values: Record<string, unknown>): string {
  const shown = Object.entries(values).filter(([, value]) =>
    ['string', 'number', 'boolean'].includes(typeof value),
  );
  return shown.length === 0 ? '' : ` (${shown.map(([key, value]) => `${key} ${value}`).join(', ')})`;
}

/** In brackets what is known of several things. */
function known(...parts: (string | undefined)[]): string {
  const there = parts.filter((part) => part !== undefined);
  return there.length === 0 ? '' : ` (${there.join(', ')})`;
}

/** What version 2 may say besides. */
function additions({ order, roles, notRun, edges, graph }: DumpSummary['manifest']): [string, string][] {
  const lines: [string, string][] = [];
  if (order !== undefined && order !== 'execution') lines.push(['order', order]);
  if (roles !== undefined)
    lines.push([
      'roles',
      Object.entries(roles)
        .map(([role, names]) => `${role} ${names?.length ?? 0}`)
        .join(', ') || 'none',
    ]);
  if (edges !== undefined) lines.push(['edges', formatCount(edges.length)]);
  if (graph !== undefined) lines.push(['graph', graph.file]);
  if (notRun !== undefined && notRun.length > 0)
    lines.push(['not run', notRun.map(({ name, reason }) => `${name} (${reason})`).join(', ')]);
  return lines;
}

function dtypes(taps: readonly TapInfo[]): string {
  const kinds = [...new Set(taps.map(({ dtype }) => dtype))];
  const count = (kind: string) => taps.filter(({ dtype }) => dtype === kind).length;
  return ` (${kinds.map((kind) => `${kind} ${count(kind)}`).join(', ')})`;
}

function fileTable(files: readonly DumpFileSummary[]): string {
  return table(
    [
      { title: 'file' },
      { title: 'taps', align: 'right' },
      { title: 'rows', align: 'right' },
      { title: 'size', align: 'right' },
      { title: 'state' },
    ],
    files.map(({ name, taps, rows, sizeBytes, state }) => [
      name,
      String(taps),
      formatCount(rows),
      formatBytes(sizeBytes),
      state,
    ]),
  );
}

function tapTable({ taps, manifest }: DumpSummary): string {
  const shape = ({ axes, shape }: TapInfo) =>
    `${axes.join(',')} [${shape.map((size) => size ?? '?').join(', ')}]`;
  if (manifest.tier === 'hash')
    return table(
      [{ title: 'tap' }, { title: 'dtype' }, { title: 'SHA-256 of the first step' }],
      taps.map((tap) => [tap.name, tap.dtype, tap.sha256?.[0] ?? 'none']),
    );
  const number = (value: number | undefined) => (value === undefined ? 'none' : value.toPrecision(4));
  const right = (title: string) => ({ title, align: 'right' }) as const;
  return table(
    [
      { title: 'tap' },
      { title: 'dtype' },
      { title: 'axes, shape of a row' },
      ...['min', 'max', 'mean', 'rms', 'nan', 'inf'].map(right),
    ],
    taps.map((tap) => [
      tap.name,
      tap.dtype,
      shape(tap),
      number(tap.min),
      number(tap.max),
      number(tap.mean),
      number(tap.rms),
      String(tap.nan ?? 'none'),
      String(tap.inf ?? 'none'),
    ]),
  );
}
