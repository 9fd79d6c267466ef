import { FAMILIES } from '../../families/families.js';
import { type AttributionGroup, siteKey } from '../../locate/bisect/attribution.js';
import { splitBy } from '../../locate/bisect/levels.js';
import type { SharedRun, ShareReport, SiteShare } from '../../locate/bisect/shares/shares.js';
import { siteOp } from '../../locate/replay/policy-sites.js';
import { formatError } from '../../text-table.js';
import { fields, table } from '../table.js';

/** Rows that are shown of single sites; --json has all. */
const SHOWN_SITES = 40;

/** A report of `attribute --adjoint` for people: the largest shares first. */
export function formatShares(
  { family, subject, good, bad, against, run, free, cost }: ShareReport,
  by: AttributionGroup,
): string {
  const keyOf = siteKey(by, FAMILIES.find(({ name }) => name === family)!);
  const summary = fields([
    ['good', `${good.policy}: NMSE ${formatError(good.error, 3)}`],
    [subject === 'dump' ? 'tested' : 'bad', `${bad.policy}: NMSE ${formatError(bad.error, 3)}`],
    ['against', against],
    ...(free === null ? [] : [['free routing', `${sumText(free)}: ${flipText(free)}`] as const]),
    [
      'shares',
      run.pinned
        ? `${sumText(run)}, ${subject === 'dump' ? "against a good run with the dump's experts" : "of a run with the good run's experts"}: NMSE ${formatError(run.error, 3)}`
        : `${sumText(run)}${run.flips > 0 ? `: ${flipText(run)}` : ''}`,
    ],
    ...choosing(run),
    ...together(run),
    ['cost', costText(cost)],
  ]);
  const bySite = new Map(run.sites.map((each) => [each.site, each]));
  const groups = splitBy([...bySite.keys()], keyOf).map((sites) => {
    const members = sites.map((site) => bySite.get(site)!);
    return { group: keyOf(sites[0]!), members, share: sumOf(members, 'share') };
  });
  groups.sort((a, b) => Math.abs(b.share) - Math.abs(a.share));
  const isCut = by === 'site' && groups.length > SHOWN_SITES;
  const shown = isCut ? groups.slice(0, SHOWN_SITES) : groups;
  const rows = shown.map(({ group, members, share }) => [
    group,
    String(members.length),
    share.toFixed(4),
    members.some(({ alone }) => alone === null) ? '-' : formatError(sumOf(members, 'alone'), 3),
  ]);
  const columns = [
    { title: 'group' },
    { title: subject === 'dump' ? 'values' : 'sites', align: 'right' },
    { title: 'share', align: 'right' },
    { title: 'alone, added up', align: 'right' },
  ] as const;
  const rest = isCut ? `\n${groups.length - SHOWN_SITES} more: --json` : '';
  return `${summary}\n\n${table(columns, rows)}${rest}`;
}

function sumText({ sum, holds }: SharedRun): string {
  const reading = holds ? 'they account for the error' : 'NOT 1, so that they are no account of the error';
  return `add up to ${sum.toFixed(3)}, ${reading}`;
}

function flipText({ flips }: SharedRun): string {
  return flips === 0
    ? 'no token chose another expert'
    : `${flips} token${flips === 1 ? '' : 's'} (over all blocks) chose other experts`;
}

function choosing({ sites }: SharedRun): (readonly [string, string])[] {
  const found = sites.filter(({ chooses }) => chooses);
  if (found.length === 0) return [];
  const names = [...new Set(found.map(({ site }) => siteOp(site)))].join(' ');
  return [
    [
      'choices',
      `${found.length} site${found.length === 1 ? ' changes' : 's change'} (${names}) which experts are chosen, which no share holds: measure them without --adjoint`,
    ],
  ];
}

function together({ sites }: SharedRun): (readonly [string, string])[] {
  const found = sites.filter((each) => each.together.length > 0);
  if (found.length === 0) return [];
  return [['together', `${found.length} shares hold other sites too, of weights that no policy has apart`]];
}

function costText({ goodSeconds, badSeconds, shareSeconds, probeSeconds, graphBytes }: ShareReport['cost']) {
  const probes = probeSeconds > 0 ? `, errors alone ${probeSeconds.toFixed(2)} s` : '';
  const runs = `the two runs ${(goodSeconds + badSeconds).toFixed(2)} s`;
  return `${runs}, shares ${shareSeconds.toFixed(2)} s${probes}; values of the largest graph ${(graphBytes / 2 ** 20).toFixed(1)} MiB`;
}

function sumOf(sites: readonly SiteShare[], key: 'share' | 'alone'): number {
  return sites.reduce((sum, each) => sum + (each[key] ?? 0), 0);
}
