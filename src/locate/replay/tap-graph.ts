/**
 * Which values each value is computed from: the edges along which errors are inherited. They are read off the
 * model file (`models/runtime/trace.ts`), of a small model of the same type, because dumps of other programs
 * have to be judged without a model at hand; a test perturbs each value of a real run and checks that exactly
 * those change that the edges say.
 */
import { exampleConfig } from '../../models/example.js';
import { type TapInputs, traceModel } from '../../models/runtime/trace.js';

export type { Joining, TapInputs } from '../../models/runtime/trace.js';

/** Where a value stands: its decoder block (null for embedding and head), and its name without it. */
export interface TapPlace {
  block: number | null;
  /** E.g. `.self_attn.o_proj`; '' for the block's output; the whole name outside blocks. */
  suffix: string;
}

/** Splits a tap's name at its block. */
export function tapPlace(name: string): TapPlace {
  const match = /^layers\.(\d+)(.*)$/.exec(name);
  return match === null ? { block: null, suffix: name } : { block: Number(match[1]), suffix: match[2]! };
}

/**
 * What is read off the model file, without a cache and with one, of the smallest model of a `model_type`; of
 * the first family's where that is unknown.
 */
function exampleTraces(type: string | undefined) {
  const config = exampleConfig(type);
  return { plain: traceModel(config), cached: traceModel(config, { cached: true }) };
}

/**
 * Block of the example that is like a block of any model: the first has nothing before it, all later ones are
 * alike.
 */
function alike(block: number): number {
  return Math.min(block, 1);
}

const NONE: TapInputs = { joining: 'sum', inputs: [] };

/**
 * The values that the op which makes `name` reads, of a run that starts and ends its sequences (tokens and
 * weights aside). Unknown names have none.
 * @param blocks decoder blocks of the model: `norm` reads the last one's output. @param type `model_type`;
 * default that of the first family.
 */
export function directInputs(name: string, blocks: number, type?: string): TapInputs {
  const { block, suffix } = tapPlace(name);
  const { plain, cached } = exampleTraces(type);
  const own = block === null ? name : `layers.${alike(block)}${suffix}`;
  const edges = plain.edges.get(own) ?? cached.edges.get(own);
  if (edges === undefined) return NONE;
  if (blocks === 0 && block === null) {
    const embedding = plain.before[1]!.get('hidden')!;
    return { ...edges, inputs: edges.inputs.map((input) => (input === 'layers.1' ? embedding : input)) };
  }
  const shift = block === null ? blocks - 2 : block - alike(block);
  return { joining: edges.joining, inputs: edges.inputs.map((input) => shifted(input, shift)) };
}

function shifted(name: string, by: number): string {
  const { block, suffix } = tapPlace(name);
  return block === null ? name : `layers.${block + by}${suffix}`;
}

/** What lies between the held values before an op and the value that it makes. */
export interface TapSpan extends TapInputs {
  /**
   * Values that are computed on the way, in execution order; the last is the one made. One alone where all
   * its inputs are held.
   */
  inside: readonly string[];
}

/**
 * As {@link directInputs}, of a dump that may lack values: one that is not `held` is replaced by what it is
 * computed from, for then the op between two held values spans several.
 * @param continued true for a dump of several calls: what the calls before have left is read too. A dump that
 * holds states counts as one.
 */
export function tapSpan(
  name: string,
  blocks: number,
  held: ReadonlySet<string>,
  continued = false,
  type?: string,
): TapSpan {
  const { joining, inputs } = directInputs(name, blocks, type);
  const found = new Set<string>();
  const inside = new Set<string>();
  const visit = (input: string): void => {
    if (held.has(input)) found.add(input);
    else if (!inside.has(input)) {
      for (const earlier of directInputs(input, blocks, type).inputs) visit(earlier);
      inside.add(input);
    }
  };
  for (const input of inputs) visit(input);
  const { block, suffix } = tapPlace(name);
  const states =
    block === null ? [] : (exampleTraces(type).cached.histories.get(`layers.${alike(block)}${suffix}`) ?? []);
  for (const each of states) {
    const state = shifted(each, block! - alike(block!));
    // A state that is not held is no value inside the op: what it is made of was made by the calls before.
    for (const read of held.has(state) || !continued ? [state] : directInputs(state, blocks, type).inputs)
      if (held.has(read)) found.add(read);
  }
  return { joining, inputs: [...found], inside: [...inside, name] };
}

/** The inputs of {@link tapSpan}. */
export function tapInputs(
  name: string,
  blocks: number,
  held: ReadonlySet<string>,
  continued = false,
  type?: string,
): TapInputs {
  const { joining, inputs } = tapSpan(name, blocks, held, continued, type);
  return { joining, inputs };
}

/** Decoder blocks that a list of taps speaks of: one more than the highest number. */
export function blockCount(names: Iterable<string>): number {
  let count = 0;
  for (const name of names) count = Math.max(count, (tapPlace(name).block ?? -1) + 1);
  return count;
}
