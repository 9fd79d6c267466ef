/** Values of a recording beside those of its reference. */
import { dtypeKind } from '../../dump/dtypes.js';
import type { GraphTensor } from '../../dump/graph-file.js';
import { sameBytes } from '../../same-bytes.js';
import { type Four, valueSizes } from '../record/recorded-graph.js';
import type { ReadyNode } from '../replay/node-walk.js';
import type { Recording } from '../replay/open-recording.js';
import { ReplayValues } from '../replay/replay-values.js';
import { NO_WEIGHTS } from '../replay/weight-values.js';
import { nmse, widenToFloat64 } from '../replay/widen.js';
import { chosenColumns, isChoice, type OtherChoices, otherChoices } from './choices.js';
import type { DefinedGraph } from './defined-graph.js';
import type { JudgedNode } from './locate.js';
import { placeOf } from './wrong-place.js';

/** How libllama calls token ids, and what follows from them in some graphs' inputs. */
const TOKENS = /tokens|inp_embd/;
/** Only what was recorded is read. */

/** Against the reference's recording, everything before the node included. */
export interface WholeError {
  /**
   * Energy NMSE; of a choice the share of rows in which it is another, of other integers 1 where any differs.
   */
  nmse: number;
  /** Σ(a−b)²; 0 of integers. */
  energy: number;
  choices?: OtherChoices;
}

/** Compares values with those that the reference recorded. */
export class Comparison {
  readonly #defined: DefinedGraph;
  readonly #values: ReplayValues;
  readonly #tensors: readonly GraphTensor[];
  readonly #tested: Recording;
  readonly #own: ReplayValues;
  readonly #chosen: ReadonlyMap<number, number>;

  constructor(tested: Recording, { dump, graph }: Recording, defined: DefinedGraph) {
    this.#tested = tested;
    this.#chosen = chosenColumns(tested.graph);
    this.#own = new ReplayValues(tested.dump, tested.graph, NO_WEIGHTS);
    this.#defined = defined;
    this.#tensors = graph.tensors;
    this.#values = new ReplayValues(dump, graph, NO_WEIGHTS);
  }

  /** Inputs of a graph that are not the reference's. */
  async inputs(step: number): Promise<JudgedNode[]> {
    const { graphs, tensors } = this.#tested.graph;
    const read = new Set(
      graphs
        .filter((graph) => graph.step === step)
        .flatMap(({ nodes }) => nodes.flatMap((id) => tensors[id]!.src)),
    );
    const found: JudgedNode[] = [];
    for (const id of read) {
      const tensor = id === null ? undefined : tensors[id]!;
      if (tensor?.op !== 'NONE' || tensor.tap === undefined || tensor.state !== undefined) continue;
      // Token ids are told by themselves; steps append what the run before them chose.
      if (TOKENS.test(tensor.name)) continue;
      const partner = this.#defined.partners.get(tensor.id);
      if (
        partner?.tap === undefined ||
        partner.type !== tensor.type ||
        partner.ne.join() !== tensor.ne.join()
      )
        continue;
      const [a, b] = [
        await this.#values.recorded(partner, partner.ne, step),
        await this.#own.recorded(tensor, tensor.ne, step),
      ];
      if (sameBytes(a, b)) continue;
      const numbers = (bytes: Uint8Array) => widenToFloat64(bytes, tensor.type, tensor.ne[0]);
      found.push(otherInput(tensor, step, [await numbers(a), await numbers(b)], tensor.ne));
    }
    return found;
  }

  /** Undefined where the reference has no such value. */
  async wholeError({ node, step, recorded, written }: ReadyNode): Promise<WholeError | undefined> {
    const partner = this.#defined.partners.get(node.id);
    if (partner?.tap === undefined) return undefined;
    const ne = valueSizes(partner, this.#tensors);
    if (ne.join() !== written.ne.join()) return undefined;
    const theirs = await this.#values.recorded(partner, ne, step);
    if (partner.type === node.type && sameBytes(theirs, recorded)) return { nmse: 0, energy: 0 };
    const isExact = dtypeKind(node.type) === 'integer';
    const [a, b] = [
      await widenToFloat64(theirs, partner.type, ne[0]),
      await widenToFloat64(recorded, node.type, ne[0]),
    ];
    if (!isExact) return { nmse: nmse(a, b), energy: errorEnergy(a, b) };
    if (!isChoice(node)) return { nmse: 1, energy: 0 };
    const choices = otherChoices(a, b, ne[0], this.#chosen.get(node.id) ?? ne[0]);
    return {
      nmse: choices.changed / choices.rows,
      energy: 0,
      choices: choices.changed > 0 ? choices : undefined,
    };
  }
}

/** Σ(a−b)² over what is finite. */
function errorEnergy(a: ArrayLike<number>, b: ArrayLike<number>): number {
  let energy = 0;
  for (let k = 0; k < a.length; k++) {
    const error = (a[k]! - b[k]!) ** 2;
    if (Number.isFinite(error)) energy += error;
  }
  return energy;
}

/** An input that is not the reference's, as a node of the graph that it is of. */
function otherInput(
  { id, tap, name, type, axes }: GraphTensor,
  step: number,
  [a, b]: readonly [ArrayLike<number>, ArrayLike<number>],
  ne: Four,
): JudgedNode {
  const place = placeOf(a, b, ne, 0, axes?.[0]);
  return {
    id,
    step,
    op: 'INPUT',
    name: tap ?? name,
    block: null,
    type,
    ownError: nmse(a, b),
    limit: 0,
    isFault: true,
    widened: [],
    differences: ['an input of the graph, which is not what the reference is given'],
    nonFinite: 0,
    allNonFinite: 0,
    place,
  };
}
