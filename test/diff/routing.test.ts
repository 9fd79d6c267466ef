import { expect, it } from 'vitest';
import { diffDumps } from '../../src/diff/diff.js';
import type { TapSpec } from '../../src/dump/format.js';
import { dumpWith } from './two-dumps.js';

function blockTaps(block: number, withMargin: boolean): TapSpec[] {
  const scalar = { block, scope: 'token', axes: ['T'], shape: [] } as const;
  const expert: TapSpec = { ...scalar, name: `layers.${block}.mlp.gate:expert`, dtype: 'I32' };
  return withMargin
    ? [expert, { ...scalar, name: `layers.${block}.mlp.gate:margin`, dtype: 'F32' }]
    : [expert];
}

const taps = [...blockTaps(0, true), ...blockTaps(3, false)];

/**
 * Six tokens; block 0 flips at positions 1 and 4, block 3 at position 5. Margins are a tenth of the position.
 */
const side = (flip: number) =>
  dumpWith({
    manifest: { taps },
    steps: [
      [0, 2],
      [2, 6],
    ],
    change: (tap, { shape }, { position }) => {
      const flips = tap.block === 0 ? [1, 4] : [5];
      const values =
        tap.dtype === 'I32'
          ? position.map((at) => at + (flips.includes(at) ? flip : 0))
          : Float32Array.from(position, (at) => at / 8);
      return { shape, bytes: new Uint8Array(values.buffer) };
    },
  });

it('lists the tokens whose expert differs, with both experts and the margin of the reference', async () => {
  const { routing } = await diffDumps(await side(0), await side(10));
  expect(routing).toMatchObject({
    choices: 12,
    same: 0.75,
    flipped: 3,
    blocks: [
      { block: 0, choices: 6, flipped: 2 },
      { block: 3, choices: 6, flipped: 1 },
    ],
    flips: [
      { block: 0, sequence: 0, position: 1, reference: 1, tested: 11, margin: 1 / 8, marginIsLeast: true },
      { block: 0, sequence: 0, position: 4, reference: 4, tested: 14, margin: 4 / 8 },
      { block: 3, sequence: 0, position: 5, reference: 5, tested: 15, margin: null, marginIsLeast: false },
    ],
  });
});

it('is whole for equal dumps, and null where no expert was compared', async () => {
  expect((await diffDumps(await side(0), await side(0))).routing).toMatchObject({
    same: 1,
    flipped: 0,
    flips: [],
  });
  expect((await diffDumps(await side(0), await side(0), { taps: '**:margin' })).routing).toBeNull();
});
