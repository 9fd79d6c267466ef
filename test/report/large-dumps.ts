/** Two dumps as large, for a report, as those of the full model: 40 blocks of 60 taps. */
import { join } from 'node:path';
import type { TapSpec } from '../../src/dump/format.js';
import { Dump } from '../../src/dump/reader.js';
import { DumpWriter } from '../../src/dump/writer.js';
import { description, rowIndex } from '../dump/dump-fixture.js';
import { gaussian } from './random-values.js';

const BLOCKS = 40;
const TAPS = 60;
const TOKENS = 64;
/**
 * Elements of a row: with the tokens, far more than a grid has cells, so that grids have the size they have
 * for the full model.
 */
const WIDTH = 64;

function taps(): TapSpec[] {
  const own = (name: string, block: number | null): TapSpec => ({
    name,
    block,
    dtype: 'F32',
    scope: 'token',
    axes: ['T', 'H'],
    shape: [WIDTH],
  });
  const names = Array.from({ length: TAPS }, (_, k) => `self_attn.a_module_with_a_long_name:value_${k}`);
  return [
    own('embed_tokens', null),
    ...Array.from({ length: BLOCKS }, (_, block) =>
      names.map((name) => own(`layers.${block}.${name}`, block)),
    ).flat(),
    own('lm_head', null),
  ];
}

/**
 * Writes one side into `folder`; values are noise, which no compression makes smaller, and `error` is what
 * the sides differ by.
 */
export async function largeDump(folder: string, label: string, error: number): Promise<Dump> {
  const dir = join(folder, label);
  const specs = taps();
  const tokens = Array.from({ length: TOKENS }, (_, k) => 11 + k);
  {
    await using writer = await DumpWriter.create(dir, description({ taps: specs, sequences: [{ tokens }] }));
    const index = rowIndex(0, TOKENS, 0);
    const noise = Float32Array.from({ length: 2 ** 19 }, gaussian(1));
    const most = noise.length - TOKENS * WIDTH;
    for (const block of new Set(specs.map((tap) => tap.block)))
      await writer.append(
        block,
        index,
        new Map(
          specs
            .filter((tap) => tap.block === block)
            .map((tap) => {
              // A stretch of the noise of its own for each tap; both sides begin at the same place.
              const at = (specs.indexOf(tap) * 8191) % most;
              const other = (specs.indexOf(tap) * 6007 + 77) % most;
              const data = Float32Array.from(
                { length: TOKENS * WIDTH },
                (_, k) => noise[at + k]! + error * noise[other + k]!,
              );
              return [tap.name, { bytes: new Uint8Array(data.buffer), shape: [TOKENS, WIDTH] }];
            }),
        ),
      );
    await writer.finish();
  }
  return Dump.open(dir);
}
