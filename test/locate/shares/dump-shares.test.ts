import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { capture } from '../../../src/capture/capture.js';
import { Dump } from '../../../src/dump/reader.js';
import { policy } from '../../../src/graph/policy.js';
import { dumpShares } from '../../../src/locate/bisect/shares/dump-shares.js';
import { openModel } from '../../../src/models/runtime/model.js';

const tiny = join(import.meta.dirname, '..', '..', '..', 'dumps', 'tiny');
const model = join(tiny, 'model');
const f32 = policy('f32');
const scratch = mkdtempSync(join(tmpdir(), 'dump-shares-'));
afterAll(() => rmSync(scratch, { recursive: true }));

describe('dumpShares', () => {
  it("account for the error of PyTorch's own BF16 run, value by value", async () => {
    await using tested = await Dump.open(join(tiny, 'reference-bfloat16'));
    const { run, free, bad } = await dumpShares({ model, tested, good: f32 }, { threads: 1 });
    const held = tested.taps.filter(({ dtype, name }) => dtype !== 'I32' && !name.endsWith(':margin'));
    expect(run.sites.length).toBeGreaterThan(0.9 * held.length);
    // Other experts than in F32: no straight way leads from one run to the other.
    expect([run.pinned, run.holds, free!.holds, run.flips]).toEqual([true, true, false, 6]);
    expect(run.error).toBeLessThan(0.1 * bad.error);
  });

  it('name the one value that a run has rounded', async () => {
    const site = 'layers.3.self_attn.o_proj';
    const rounded = { name: 'one', description: '', rules: [{ sites: `${site}#round`, set: 'BF16' }] };
    const out = join(scratch, 'one');
    using opened = await openModel(model, { policy: rounded, threads: 1 });
    await capture(opened, [[5, 17, 9, 33, 80, 12]], { out });
    await using tested = await Dump.open(out);
    const { run } = await dumpShares({ model, tested, good: f32 }, { threads: 1, routing: 'pinned' });
    const shares = new Map(run.sites.map((each) => [each.site, each.share]));
    expect(shares.get(site)!).toBeCloseTo(run.sum, 2);
    expect(run.holds).toBe(true);
    await expect(
      dumpShares({ model, tested, good: rounded }, { threads: 1 }),
      'a dump of the good run itself',
    ).rejects.toThrow(/further off/);
  });
});
