/** Whether a model can have made a dump: told from its config, before weights are loaded. */
import { select, tapSpecs } from '../capture/selection.js';
import type { DumpView } from '../dump/dump-view.js';
import type { TapInfo, TapSpec } from '../dump/format.js';
import { blockOfTap } from '../dump/names/name-map.js';
import { unmet } from '../errors.js';
import type { ModelSource } from '../models/layout/source.js';

/** All taps of a model in execution order, states included. */
export function modelTaps({ config }: Pick<ModelSource, 'config'>): TapSpec[] {
  return tapSpecs(config, select(config, '**', 'all', true));
}

/**
 * Throws `SHAPE_MISMATCH` for a dump with a value that the model makes in another shape, more blocks than it
 * has, or no value of it at all, naming the first, both sizes and both places.
 *
 * @param op name of the command or function, for the message.
 */
export function requireModelFit(
  op: string,
  { config, path }: Pick<ModelSource, 'config' | 'path'>,
  dump: Pick<DumpView, 'taps' | 'dir' | 'prefixes'>,
): void {
  const fail = (why: string, tensor?: string): never => {
    throw unmet('SHAPE_MISMATCH', op, 'the model that ran as --model', `one of another shape: ${why}`, {
      where: `${path}, ${dump.dir}`,
      tensor,
    });
  };
  const made = new Map(modelTaps({ config }).map((tap) => [tap.name, tap]));
  const shared = dump.taps.filter(({ name }) => made.has(name));
  for (const tap of shared) {
    const own = made.get(tap.name)!;
    if (fits(tap, own, dump.prefixes.has(tap.name))) continue;
    fail(`${tap.name} has rows of ${sizes(tap)} in the dump, the model makes ${sizes(own)}`, tap.name);
  }
  const blocks = 1 + dump.taps.reduce((most, { name }) => Math.max(most, blockOfTap(name) ?? -1), -1);
  const own = config.num_hidden_layers;
  if (blocks > own) fail(`the dump has ${blocks} blocks, the model ${own}`);
  // The head of a run stands behind its last block.
  const last = [...made.values()].filter(({ block }) => block === null).at(-1)!.name;
  if (
    blocks > 0 &&
    blocks < own &&
    hasAllBlocks(dump.taps, blocks) &&
    shared.some(({ name }) => name === last)
  )
    fail(`the dump has ${blocks} blocks, the model ${own}`);
  if (shared.length === 0)
    fail(`none of its values is among the ${dump.taps.length} of the dump, first ${dump.taps[0]?.name}`);
}

/** True where the output of every block is held: none was left out by a selection. */
function hasAllBlocks(taps: readonly TapInfo[], blocks: number): boolean {
  const names = new Set(taps.map(({ name }) => name));
  return Array.from({ length: blocks }, (_, block) => `layers.${block}`).every((name) => names.has(name));
}

/**
 * An import without a config may lack axes of size 1, or have heads and channels as one: what counts is how
 * many elements there are. Sizes that vary by step are left to the replay.
 */
function fits(dumped: TapInfo, made: Pick<TapInfo, 'shape'>, isPrefix: boolean): boolean {
  const [own, wanted] = [elements(dumped), elements(made)];
  if (own === undefined || wanted === undefined) return true;
  return own === wanted || (isPrefix && own < wanted);
}

function elements({ shape }: Pick<TapInfo, 'shape'>): number | undefined {
  return shape.reduce<number | undefined>(
    (all, size) => (all === undefined || size === null ? undefined : all * size),
    1,
  );
}

function sizes({ shape }: Pick<TapInfo, 'shape'>): string {
  return `[${shape.map((size) => size ?? 'any').join(', ')}]`;
}
