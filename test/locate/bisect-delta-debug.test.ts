import { describe, expect, it } from 'vitest';
import { deltaDebug } from '../../src/locate/bisect/delta-debug.js';
import { type Oracle, TestLedger } from '../../src/locate/bisect/test-ledger.js';
import { seededIntegers } from '../weights/fixtures.js';

const SITES = Array.from({ length: 32 }, (_, index) => `s${index}`);

function halves(sites: readonly string[]): string[][] {
  const half = Math.ceil(sites.length / 2);
  return [sites.slice(0, half), sites.slice(half)].filter((part) => part.length > 0);
}

/** Every run costs one pass; `sets` are those that were run. */
function oracle(error: (bad: ReadonlySet<string>) => number) {
  const sets: string[][] = [];
  const asked: Oracle = {
    async measure(sites) {
      sets.push([...sites]);
      return error(new Set(sites));
    },
    price: () => 1,
    reach: () => 1,
  };
  return { asked, sets };
}

function search(error: (bad: ReadonlySet<string>) => number, failAbove: number, maxPasses = 1000) {
  const { asked, sets } = oracle(error);
  const ledger = new TestLedger(asked, failAbove, maxPasses);
  return { found: deltaDebug(ledger, SITES, halves), ledger, sets };
}

/** True if the set fails and passes without any one of its sites. */
function isMinimal(
  sites: readonly string[],
  error: (bad: ReadonlySet<string>) => number,
  failAbove: number,
): boolean {
  const fails = (set: readonly string[]) => !(error(new Set(set)) <= failAbove);
  return fails(sites) && sites.every((site) => !fails(sites.filter((other) => other !== site)));
}

const names = (units: readonly { sites: readonly string[] }[]) => units.map(({ sites }) => sites.join());

describe('deltaDebug', () => {
  it('finds the one site at fault', async () => {
    const { found, sets } = search((bad) => (bad.has('s21') ? 1 : 0), 0.5);
    expect(await found).toMatchObject({ verified: true, error: 1 });
    expect(names((await found).units)).toEqual(['s21']);
    expect((await found).units[0]).toMatchObject({ alone: 1, without: 0 });
    expect(sets.length).toBeLessThan(20);
  });

  it('finds two sites that fail only together, which no measurement alone shows', async () => {
    const { found } = search((bad) => (bad.has('s3') && bad.has('s30') ? 1 : 0), 0.5);
    expect(names((await found).units).sort()).toEqual(['s3', 's30']);
    expect((await found).verified).toBe(true);
  });

  it('takes the few largest of errors that add up', async () => {
    const sizes = new Map(SITES.map((site, index) => [site, index === 5 ? 40 : index === 17 ? 30 : 1]));
    const { found } = search((bad) => [...bad].reduce((sum, site) => sum + sizes.get(site)!, 0), 50);
    expect(names((await found).units)).toEqual(['s5', 's17']);
  });

  it('counts NaN as failing, and the site that makes it as the largest', async () => {
    const { found } = search((bad) => (bad.has('s9') ? Number.NaN : bad.size * 0.01), 0.25);
    expect(names((await found).units)).toEqual(['s9']);
    expect((await found).error).toBeNaN();
  });

  it.each(Array.from({ length: 40 }, (_, seed) => seed))(
    'gives a minimal set for errors that interact and cancel, seed %i',
    async (seed) => {
      const random = seededIntegers(seed + 1);
      const unit = () => random(2 ** 24) / 2 ** 24;
      // Squared length of a sum of vectors, as logit errors are: neither additive nor monotone.
      const vectors = new Map(
        SITES.map((site) => [site, [unit() - 0.4, unit() - 0.4, unit() - 0.5].map((x) => x * unit() ** 2)]),
      );
      const error = (bad: ReadonlySet<string>) => {
        const chosen = [...bad].map((site) => vectors.get(site)!);
        const along = (axis: number) => chosen.reduce((sum, vector) => sum + vector[axis]!, 0);
        return [0, 1, 2].reduce((total, axis) => total + along(axis) ** 2, 0);
      };
      const failAbove = error(new Set(SITES)) / 2;
      const { found } = search(error, failAbove);
      const { units, verified } = await found;
      expect(verified).toBe(true);
      expect(units.every(({ sites }) => sites.length === 1)).toBe(true);
      expect(
        isMinimal(
          units.flatMap(({ sites }) => sites),
          error,
          failAbove,
        ),
      ).toBe(true);
    },
  );

  it.each([2, 5, 10, 20, 40, 80])('stays within %i passes, and verifies what it claims', async (most) => {
    const error = (bad: ReadonlySet<string>) => bad.size ** 1.5;
    const failAbove = error(new Set(SITES)) / 2;
    const { found, ledger, sets } = search(error, failAbove, most);
    const { units, verified } = await found;
    expect(ledger.passes).toBeLessThanOrEqual(most);
    expect(sets).toHaveLength(ledger.passes);
    const fails = (left: (typeof units)[number][]) =>
      !(error(new Set(left.flatMap(({ sites }) => sites))) <= failAbove);
    expect(fails(units)).toBe(true);
    if (verified) for (const unit of units) expect(fails(units.filter((each) => each !== unit))).toBe(false);
  });

  it('runs the same sets in the same order each time', async () => {
    const error = (bad: ReadonlySet<string>) =>
      [...bad].reduce((sum, site) => sum + Number(site.slice(1)), 0);
    const [first, second] = [search(error, 200), search(error, 200)];
    expect(await second.found).toEqual(await first.found);
    expect(second.sets).toEqual(first.sets);
  });

  it.each([
    ['a good run that fails', () => 1, 0.5],
    ['a bad run that passes', () => 0, 0.5],
  ])('refuses %s', async (_, error, failAbove) => {
    await expect(search(error, failAbove).found).rejects.toMatchObject({ code: 'BAD_ARGUMENT' });
  });
});
