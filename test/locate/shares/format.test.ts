import { expect, it } from 'vitest';
import { formatShares } from '../../../src/cli/commands/attribute-adjoint.js';
import type { SharedRun, ShareReport } from '../../../src/locate/bisect/shares/shares.js';

const site = (name: string, share: number, more = {}) => ({
  site: name,
  share,
  alone: 1e-6,
  together: [],
  chooses: false,
  ...more,
});

const run: SharedRun = {
  pinned: true,
  error: 2e-5,
  flips: 3,
  sum: 1.01,
  holds: true,
  sites: [
    site('layers.0.mlp.gate:expert#skip', 0, { chooses: true }),
    site('layers.0.self_attn.o_proj#round', 0.2),
    site('layers.1.self_attn.o_proj#round', 0.31),
    site('lm_head#round', -0.6),
  ],
};
const report: ShareReport = {
  family: 'zaya',
  subject: 'policies',
  good: { policy: 'f32', error: 0 },
  bad: { policy: 'pytorch-bf16', error: 3e-4 },
  against: 'good run',
  run,
  free: { ...run, pinned: false, sum: 0.1, holds: false, flips: 1 },
  cost: { goodSeconds: 1, badSeconds: 2, shareSeconds: 4, probeSeconds: 0, graphBytes: 2 ** 21 },
};

it('says whether shares account for the error, and what they leave out, the largest first', () => {
  const lines = formatShares(report, 'op').split('\n');
  expect(lines.slice(3, 7)).toEqual([
    'free routing  add up to 0.100, NOT 1, so that they are no account of the error: 1 token (over all blocks) chose other experts',
    "shares        add up to 1.010, they account for the error, of a run with the good run's experts: NMSE 2.00e-5",
    'choices       1 site changes (mlp.gate:expert#skip) which experts are chosen, which no share holds: measure them without --adjoint',
    'cost          the two runs 3.00 s, shares 4.00 s; values of the largest graph 2.0 MiB',
  ]);
  expect(lines.slice(9).map((line) => line.split(/ +/))).toEqual([
    ['lm_head#round', '1', '-0.6000', '1.00e-6'],
    ['self_attn.o_proj#round', '2', '0.5100', '2.00e-6'],
    ['mlp.gate:expert#skip', '1', '0.0000', '1.00e-6'],
  ]);
});
