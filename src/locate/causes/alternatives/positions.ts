/** Positions, the rotary embedding and the mask. */
import { architectureOf } from '../../../models/architectures.js';
import type { ModelConfig } from '../../../models/runtime/architecture.js';
import {
  type Alternative,
  type CauseKind,
  type CauseOp,
  type Transform,
  tapInputsOf,
} from '../alternative.js';
import { exchanged, type Values } from '../layout.js';
import { HEAD_AXES } from '../words.js';

function inputOf(op: CauseOp, name: string): string | undefined {
  return op.inputs.find(({ leaf }) => leaf.kind === 'constant' && leaf.name === name)?.leaf.input;
}

function typeOf({ config, block }: CauseOp): string {
  return config.layer_types[block ?? 0]!;
}

function withRope(op: CauseOp, change: { theta?: number; share?: number }): ModelConfig {
  return architectureOf(op.config).withRope(op.config, typeOf(op), change);
}

/** Bases in use: the first models', Llama 3's and Qwen's, ZAYA's. */
const BASES = [1e4, 1e5, 5e5, 1e6, 5e6, 1e7];
const SHARES = [1, 0.5, 0.25];

export const rotary: CauseKind = {
  name: 'the rotary embedding in another form',
  *alternatives(op) {
    const [cos, sin] = [inputOf(op, 'cos'), inputOf(op, 'sin')];
    if (cos === undefined || sin === undefined) return;
    const { theta, rotary: dims } = architectureOf(op.config).attention(op.config, typeOf(op));
    const own = dims / op.config.head_dim;
    yield* pairwise(op, dims);
    const tables = (past: number): ReadonlyMap<string, Transform> =>
      new Map([
        [cos, () => op.constant('cos', op.config, past)],
        [sin, () => op.constant('sin', op.config, past)],
      ]);
    for (const by of [1, -1])
      yield {
        key: `position ${by}`,
        says: `positions are one too ${by > 0 ? 'large' : 'small'}`,
        so: 'at those positions',
        values: tables(by),
      };
    yield {
      key: 'backwards',
      says: 'heads are rotated backwards',
      so: 'backwards',
      values: new Map([[sin, (values: Values) => (values as Float32Array).map((value) => -value)]]),
    };
    for (const base of BASES)
      if (base !== theta)
        yield {
          key: `base ${base}`,
          says: `the rotary embedding has base ${short(base)} instead of ${short(theta)}`,
          so: 'with that base',
          config: withRope(op, { theta: base }),
        };
    for (const share of SHARES)
      if (share !== own && (op.config.head_dim * share) % 2 === 0)
        yield {
          key: `share ${share}`,
          says: `${share === 1 ? 'the whole head is' : `${share} of the head is`} rotated instead of ${own}`,
          so: 'rotated so',
          config: withRope(op, { share }),
        };
  },
};

function short(base: number): string {
  return base.toExponential().replace('+', '');
}

/** Neighbouring channels turned against each other instead of the two halves. */
function* pairwise(op: CauseOp, dims: number): Iterable<Alternative> {
  const values = new Map<string, Transform>();
  const d = op.config.head_dim;
  const rows = (data: Values, apart: boolean): Values => {
    const out = data.slice();
    for (let start = 0; start < data.length; start += d) {
      const part = data.subarray(start, start + dims);
      const [a, b] = apart ? [dims / 2, 2] : [2, dims / 2];
      out.set(exchanged(part as Float32Array, a, b, 1) as never, start);
    }
    return out;
  };
  for (const { leaf, factors } of tapInputsOf(op))
    if (factors.at(-1)?.name === HEAD_AXES.channels) values.set(leaf.input, (given) => rows(given, true));
  if (values.size === 0 || op.output.factors.at(-1)?.name !== HEAD_AXES.channels) return;
  yield {
    key: 'pairwise',
    says: 'the rotary embedding turns neighbouring channels against each other and not the two halves of the head',
    so: 'turned so',
    values,
    output: (made) => rows(made, false),
  };
}

export const mask: CauseKind = {
  name: 'another mask',
  *alternatives(op) {
    const input = inputOf(op, 'mask');
    if (input === undefined) return;
    const offer = (key: string, says: string, so: string, make: () => Values): Alternative => ({
      key: `mask ${key}`,
      says,
      so,
      values: new Map([[input, make]]),
    });
    const at = (past: number) => op.constant('mask', op.config, past);
    yield offer('ahead', 'each token also sees the next one', 'with that mask', () => at(1));
    yield offer('not itself', 'no token sees itself', 'with that mask', () => seeingSome(at(-1), op.tokens));
    yield offer('none', 'every token sees all others', 'without a mask', () => at(0).map(() => 0));
    const window = op.config.sliding_window;
    if (typeOf(op) !== 'hybrid_sliding' || window === null) return;
    for (const by of [1, -1]) {
      const config = { ...op.config, sliding_window: window + by };
      yield offer(
        `window ${by}`,
        `the window is ${window + by} positions instead of ${window}`,
        'with that window',
        () => op.constant('mask', config, 0),
      );
    }
    const open = { ...op.config, sliding_window: op.config.max_position_embeddings };
    yield offer('no window', 'the sliding window is left out', 'without it', () =>
      op.constant('mask', open, 0),
    );
  },
};

/** A row that sees nothing would be NaN: the first token then sees itself. */
function seeingSome(values: Values, tokens: number): Values {
  if (values.length > 0 && values.subarray(0, values.length / tokens).every((value) => value < 0))
    values[0] = 0;
  return values;
}
