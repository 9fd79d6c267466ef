import type { DumpView } from '../dump/dump-view.js';
import type { TensorBatch } from '../dump/reader.js';

/** Flips beyond this many are counted, not listed. */
const MAX_FLIPS = 1000;

/** A token whose expert differs. */
export interface ExpertFlip {
  block: number;
  sequence: number;
  position: number;
  /** Expert of the reference (E stands for the skip class). */
  reference: number;
  tested: number;
  /** How far the reference's best biased probability was ahead of the second; null where its dump lacks `mlp.gate:margin`. */
  margin: number | null;
}

/** Which experts the tokens took. */
export interface RoutingReport {
  /** Choices compared: tokens times blocks. */
  choices: number;
  /** Share of choices that are the same; 1 without any. */
  same: number;
  flipped: number;
  /** In execution order; blocks without a flip have 0. */
  blocks: { block: number; choices: number; flipped: number }[];
  /** The first flips in execution order, at most 1000. */
  flips: ExpertFlip[];
}

const EXPERT_TAP = /^layers\.(\d+)\.mlp\.gate:expert$/;

/** The block whose routing a tap tells, or null. */
export function routingBlock(tap: string): number | null {
  const match = EXPERT_TAP.exec(tap);
  return match === null ? null : Number(match[1]);
}

/** Accumulates a {@link RoutingReport}. */
export class RoutingComparison {
  readonly #blocks = new Map<number, { choices: number; flipped: number }>();
  readonly #flips: (ExpertFlip & { row: number })[] = [];

  /** Adds rows of a block's chosen experts; `row` is the first row's number in the reference's file. */
  add(block: number, row: number, reference: TensorBatch, tested: TensorBatch): void {
    let counts = this.#blocks.get(block);
    if (counts === undefined) {
      counts = { choices: 0, flipped: 0 };
      this.#blocks.set(block, counts);
    }
    counts.choices += reference.data.length;
    for (let k = 0; k < reference.data.length; k++) {
      if (reference.data[k] === tested.data[k]) continue;
      counts.flipped++;
      if (this.#flips.length < MAX_FLIPS)
        this.#flips.push({
          block,
          sequence: reference.sequence[k]!,
          position: reference.position[k]!,
          reference: reference.data[k]!,
          tested: tested.data[k]!,
          margin: null,
          row: row + k,
        });
    }
  }

  /** The report, with margins read from the reference dump. */
  async report(reference: DumpView): Promise<RoutingReport | null> {
    if (this.#blocks.size === 0) return null;
    const flips: ExpertFlip[] = [];
    for (const { row, ...flip } of this.#flips)
      flips.push({ ...flip, margin: await readMargin(reference, flip.block, row) });
    const blocks = [...this.#blocks].map(([block, counts]) => ({ block, ...counts }));
    const choices = blocks.reduce((sum, block) => sum + block.choices, 0);
    const flipped = blocks.reduce((sum, block) => sum + block.flipped, 0);
    return { choices, same: choices === 0 ? 1 : 1 - flipped / choices, flipped, blocks, flips };
  }
}

/** `mlp.gate:margin` of a block at a row of the block's file. */
async function readMargin(reference: DumpView, block: number, row: number): Promise<number | null> {
  const name = `layers.${block}.mlp.gate:margin`;
  if (!reference.taps.some((tap) => tap.name === name && tap.dtype === 'F32' && tap.shape.length === 0))
    return null;
  const batch = await reference.readRows(name, row, row + 1);
  return batch?.data[0] ?? null;
}
