/**
 * What stands between the model file and the rest: weights, states, policy and taps by name. The model file
 * itself holds only the equations.
 */

import type { Dtype } from '../../dtype.js';
import type { Graph } from '../../graph/graph.js';
import { add } from '../../graph/ops-arithmetic.js';
import { cast } from '../../graph/ops-layout.js';
import { mulMat } from '../../graph/ops-products.js';
import { parametersSite, type Setting } from '../../graph/policy.js';
import type { Shape } from '../../graph/shape.js';
import { type HalfDtype, stochasticRound } from '../../graph/stochastic-round.js';
import type { Tensor } from '../../graph/tensor.js';
import type { ModelConfig, WeightRole } from './architecture.js';
import type { TokenAxis } from './random-leaf.js';
import { type Taps, tap, tapAs, tapParts } from './tap.js';

/** What a model file needs from around it. Weight names are those of the checkpoint. */
export interface ModelContext<C extends ModelConfig = ModelConfig> {
  graph: Graph;
  config: C;
  /** Size of an axis that does not depend on the call, e.g. `nq*d`. */
  axis(name: string): number;
  /** The policy's value at a site, e.g. `layers.3.self_attn.o_proj#round`. */
  setting: Setting;
  taps: Taps;
  /**
   * Random numbers for a value that is rounded stochastically, F32 in its shape; undefined where values are
   * rounded to nearest.
   */
  random: ((site: string, dtype: HalfDtype, shape: Shape, tokens?: TokenAxis) => Tensor) | undefined;
  /** Sequences in the batch, B; all have the same number of tokens. */
  batch: number;
  /**
   * A weight by its full name, with what it is for and its shape, output rows first; throws `MISSING_TENSOR`.
   */
  weight(name: string, role: WeightRole, shape: Shape): Tensor;
  /** True if the model has a head of its own (`lm_head.weight`); else it multiplies with the embedding. */
  hasHead: boolean;
  /**
   * A value that outlives the segment: `hidden` F32 [N, H], and what else the architecture's `states` names.
   */
  state(name: string): Tensor;
  /**
   * A value that depends on the run but not on the weights: `mask` F32 [T, S] or [B, 1, T, S], `cos` and
   * `sin` F32 [N, 1, d] (`cos_product` and `sin_product` of angles that were multiplied up), for the layer
   * type of the block at hand; the architecture's `tables`.
   */
  constant(name: string): Tensor;
  /** F32 [N, 1], 0 for padding and 1 for tokens; absent where nothing is padded. */
  padding: Tensor | undefined;
  /** What a block remembers of the tokens before, F32 [B, ..]: see the architecture's `histories`. */
  history(layer: number, name: string): Tensor;
  /** Absent in a run that starts and ends with this call. */
  cache: CacheView | undefined;
}

/** The KV cache as a run sees it. */
export interface CacheView {
  /** Cached positions that the run reads, from 0; those not written yet are masked. */
  span: number;
  /** [B, capacity, nk·d] in the policy's dtype. */
  keys(layer: number): Tensor;
  /** [B, nk·d, capacity] in the policy's dtype: transposed, as attention reads it. */
  values(layer: number): Tensor;
  /** I32 [N]: row of the keys, of B·capacity, that a token goes to. */
  keyRows: Tensor;
  /** I32 [N·nk·d]: element of the values, of B·nk·d·capacity, that an element of a token goes to. */
  valueElements: Tensor;
}

/** A module of the reference: its path is the prefix of its weights and taps. */
export class Module<C extends ModelConfig = ModelConfig> {
  readonly context: ModelContext<C>;
  readonly path: string;

  constructor(context: ModelContext<C>, path: string) {
    this.context = context;
    this.path = path;
    context.graph.scope(path);
  }

  child(name: string): Module<C> {
    return new Module(this.context, this.#join(`.${name}`));
  }

  /** A norm's, bias's or scale's values: F32 in a run. */
  vector(name: string, size: number): Tensor {
    return this.#weight(name, 'vector', [size]);
  }

  /** The kernel of a convolution. */
  conv(name: string, ...shape: number[]): Tensor {
    return this.#weight(name, 'conv', shape);
  }

  /** Values that the reference keeps in F32 whatever dtype it loads. */
  buffer(name: string, size: number): Tensor {
    return this.#weight(name, 'buffer', [size]);
  }

  /**
   * A weight that matmuls read: output rows first. Its dtype was chosen when it was loaded, by the policy at
   * `name#weight`.
   */
  matrix(name: string, ...shape: number[]): Tensor {
    return this.#matrix(name, 'matmul', shape);
  }

  /** As {@link matrix}, of rows that token ids pick. */
  embedding(name: string, ...shape: number[]): Tensor {
    return this.#matrix(name, 'embedding', shape);
  }

  /** The policy's value at a site of this module, e.g. `#eps` or `:act1#form`. */
  setting(suffix: string): string {
    return this.context.setting(this.#join(suffix));
  }

  /**
   * Rounds a value where the policy says so; `suffix` as for {@link tap}.
   * @param tokens where its tokens are; default: rows [N, ..].
   */
  round(suffix: string, value: Tensor, tokens?: TokenAxis): Tensor {
    const dtype = this.setting(`${suffix}#round`);
    if (dtype === 'none') return value;
    const { random } = this.context;
    return random === undefined
      ? cast(cast(value, dtype as Dtype), 'F32')
      : this.#roundStochastically(`${suffix}#round`, value, dtype as HalfDtype, tokens);
  }

  /**
   * An F32 operand of a product that rounds it to `dtype` inside ggml, or of a cast to it: rounded to it and
   * back where the policy rounds stochastically, so that ggml has nothing left to round; else as it is.
   * @param site suffix that names the rounding. @param tokens as in {@link round}.
   */
  operand(site: string, value: Tensor, dtype: Dtype, tokens?: TokenAxis): Tensor {
    const isHalf = dtype === 'BF16' || dtype === 'F16';
    return this.context.random === undefined || !isHalf
      ? value
      : this.#roundStochastically(site, value, dtype, tokens);
  }

  #roundStochastically(suffix: string, value: Tensor, dtype: HalfDtype, tokens?: TokenAxis): Tensor {
    const random = this.context.random!(this.#join(suffix), dtype, value.shape, tokens);
    return stochasticRound(value, random, dtype);
  }

  /** True if the policy rounds one of the values: then a fused op must be taken apart. */
  rounds(...suffixes: readonly string[]): boolean {
    return suffixes.map((suffix) => this.setting(`${suffix}#round`)).some((dtype) => dtype !== 'none');
  }

  /**
   * Rounds a value as the policy says and passes it through the seam. `suffix`: '' for the module's output,
   * `.child` for a child's, `:value` for a value inside it.
   */
  tap(suffix: string, value: Tensor, axes: string): Tensor {
    const rounded = value.dtype === 'F32' ? this.round(suffix, value) : value;
    return tap(this.context.graph, this.context.taps, this.#join(suffix), rounded, axes);
  }

  tapAs(
    suffix: string,
    value: Tensor,
    axes: string,
    shown: (x: Tensor) => Tensor,
    back: (x: Tensor) => Tensor,
  ): Tensor {
    return tapAs(this.context.graph, this.context.taps, this.#join(suffix), value, axes, shown, back);
  }

  tapParts(
    value: Tensor,
    axis: number,
    parts: readonly (readonly [suffix: string, count: number, shape: number[], axes: string])[],
  ): Tensor {
    const named = parts.map(
      ([suffix, count, shape, axes]) => [this.#join(suffix), count, shape, axes] as const,
    );
    return tapParts(this.context.graph, this.context.taps, value, axis, named);
  }

  /** Shows a value that nothing in the graph goes on from. */
  show(suffix: string, axes: string, make: () => Tensor): void {
    const { graph, taps } = this.context;
    const name = this.#join(suffix);
    if (!taps.wants(name)) return;
    const value = make();
    taps.declare?.(name, axes, value);
    graph.output(name, taps.show?.(value) ?? value);
  }

  /** A linear layer; its output rows are the last of `axes`. */
  linear(name: string, x: Tensor, axes: string, hasBias: boolean): Tensor {
    const rows = this.context.axis(axes.slice(axes.lastIndexOf(',') + 1));
    const matrix = this.matrix(`${name}.weight`, rows, x.shape.at(-1)!);
    const product = mulMat(matrix, this.operand(`.${name}#weight`, x, matrix.dtype));
    const output = hasBias ? add(product, this.vector(`${name}.bias`, rows)) : product;
    return this.tap(`.${name}`, output, axes);
  }

  #matrix(name: string, role: WeightRole, shape: readonly number[]): Tensor {
    this.context.setting(this.#join(`.${name.replace(/\.weight$/, '')}#weight`));
    return this.#weight(name, role, shape);
  }

  #weight(name: string, role: WeightRole, shape: readonly number[]): Tensor {
    const tensor = this.#weightName(name);
    this.context.setting(parametersSite(tensor));
    return this.context.weight(tensor, role, shape);
  }

  #join(suffix: string): string {
    return this.path === '' ? suffix.replace(/^\./, '') : this.path + suffix;
  }

  #weightName(name: string): string {
    return name.startsWith('lm_head.') ? name : `model.${this.#join(`.${name}`)}`;
  }
}
