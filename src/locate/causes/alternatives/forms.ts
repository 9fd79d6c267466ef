/** An op in another form: its numbers, its activation, the order of its steps. */
import { add, clamp, gelu, geluErf, mul, scale, silu, sub } from '../../../graph/ops-arithmetic.js';
import { concat, cont, reshape, slice } from '../../../graph/ops-layout.js';
import { argsort, l2Norm, mean, rmsNorm, softMax, sumRows } from '../../../graph/ops-rows.js';
import { elementCount } from '../../../graph/shape.js';
import type { Tensor } from '../../../graph/tensor.js';
import { formatFactor } from '../../../text-table.js';
import type { Alternative, CauseKind, NodeEdit } from '../alternative.js';
import { valueWords } from '../words.js';

const EPSILONS = [0, 1e-12, 1e-8, 1e-7, 1e-6, 1e-5, 1e-4, 1e-3];

function epsilonWords(eps: number): string {
  return eps === 0 ? '0' : Number(eps.toPrecision(3)).toExponential();
}

type Form = readonly [key: string, says: string, so: string, edit: (sources: readonly Tensor[]) => Tensor];

/** The logistic function out of the vocabulary: a soft-max over each element and zero. */
function sigmoid(x: Tensor): Tensor {
  const column = reshape(cont(x), [elementCount(x.shape), 1]);
  const pairs = softMax(concat(column, scale(column, 0), 1));
  return reshape(cont(slice(pairs, 1, 0, 1)), x.shape);
}

const ACTIVATIONS: Readonly<Record<string, readonly [words: string, apply: (x: Tensor) => Tensor]>> = {
  silu: ['SiLU', silu],
  geluErf: ['the exact GELU', geluErf],
  // ggml's own reads a table in F16 steps.
  gelu: [
    'the tanh form of GELU',
    (x) => mul(x, sigmoid(scale(add(x, scale(mul(mul(x, x), x), 0.044715)), Math.sqrt(8 / Math.PI)))),
  ],
  geluTable: ["ggml's GELU table", gelu],
  quick: ['the quick GELU', (x) => mul(x, sigmoid(scale(x, 1.702)))],
  relu: ['ReLU', (x) => clamp(x, 0)],
  sigmoid: ['the sigmoid', sigmoid],
  none: ['no activation', (x) => x],
};

/** Other forms of one node, with its sources in the new graph. */
function formsOf({ op, params, sources: own }: Tensor): Form[] {
  switch (op) {
    case 'rmsNorm':
    case 'l2Norm': {
      const norm = op === 'rmsNorm' ? rmsNorm : l2Norm;
      const width = own[0]!.shape.at(-1)!;
      const centred = (x: Tensor) => sub(x, mean(x));
      return [
        ...EPSILONS.filter((eps) => Math.abs(eps - params[0]!) > 1e-3 * eps).map(
          (eps): Form => [
            `epsilon ${epsilonWords(eps)}`,
            `the epsilon is ${epsilonWords(eps)} instead of ${epsilonWords(params[0]!)}`,
            'with it',
            ([x]) => norm(x!, eps),
          ],
        ),
        [
          'centred',
          'the mean is subtracted first, as in a layer norm',
          'subtracted',
          ([x]) => norm(centred(x!), params[0]!),
        ],
        ['not-normed', 'the norm is left out: its weight alone is applied', 'without it', ([x]) => x!],
        op === 'l2Norm'
          ? [
              'mean-square',
              'the root of the mean square divides and not the length',
              'so',
              ([x]) => scale(l2Norm(x!, params[0]!), Math.sqrt(width)),
            ]
          : [
              'length',
              'the length divides and not the root of the mean square',
              'so',
              ([x]) => scale(rmsNorm(x!, params[0]!), 1 / Math.sqrt(width)),
            ],
      ];
    }
    case 'scale': {
      const factor = params[0]!;
      if (factor === 1 || params.length > 1) return [];
      const words = formatFactor(factor, 6);
      return [
        ['not-scaled', `the factor ${words} is left out`, 'without it', ([x]) => x!],
        [
          'scaled-twice',
          `the factor ${words} is applied twice`,
          'twice',
          ([x]) => scale(x!, factor * factor),
        ],
        ['scaled-back', `the value is divided by ${words}`, 'divided', ([x]) => scale(x!, 1 / factor)],
      ];
    }
    case 'softMax': {
      const factor = params[0]!;
      const words = formatFactor(factor, 6);
      const other = (by: number) => (sources: readonly Tensor[]) => softMax(sources[0]!, by, sources[1]);
      return [
        ...(factor === 1
          ? []
          : ([
              ['not-scaled', `the scores are not multiplied by ${words}`, 'without it', other(1)],
              [
                'scaled-twice',
                `the scores are multiplied by ${words} twice`,
                'twice',
                other(factor * factor),
              ],
              [
                'scaled-root',
                `the scores are multiplied by the root of ${words}`,
                'so',
                other(Math.sqrt(factor)),
              ],
            ] satisfies Form[])),
        ['no-soft-max', 'the soft-max is left out', 'without it', ([x]) => scale(x!, factor)],
        [
          'sigmoid',
          'a sigmoid stands in the place of the soft-max',
          'with it',
          ([x]) => sigmoid(scale(x!, factor)),
        ],
      ];
    }
    case 'silu':
    case 'gelu':
    case 'geluErf':
      return others(op).map(
        ([key, words, apply]): Form => [
          `activation ${key}`,
          `${words} stands in the place of ${ACTIVATIONS[op]![0]}`,
          'with it',
          ([x]) => apply(x!),
        ],
      );
    case 'swiglu':
      return others('silu').map(
        ([key, words, apply]): Form => [
          `activation ${key}`,
          `${words} stands in the place of SiLU`,
          'with it',
          ([x]) => {
            const half = x!.shape.at(-1)! / 2;
            return mul(apply(cont(slice(x!, -1, 0, half))), cont(slice(x!, -1, half, 2 * half)));
          },
        ],
      );
    case 'mean':
      return [['sum', 'the sum is taken and not the mean', 'summed', ([x]) => sumRows(x!)]];
    case 'sumRows':
      return [['mean', 'the mean is taken and not the sum', 'as a mean', ([x]) => mean(x!)]];
    case 'argmax':
      return [
        ['second', 'the second best is chosen', 'second best', ([x]) => chosen(x!, 'descending', 1)],
        ['least', 'the least is chosen', 'least', ([x]) => chosen(x!, 'ascending', 0)],
      ];
    case 'mul': {
      const [sum, factor] = own;
      if (sum?.op !== 'add' || factor === undefined) return [];
      return [
        [
          'scale-first',
          'the scale is applied before the bias',
          'in that order',
          ([x, s]) => add(mul(x!.sources[0]!, s!), x!.sources[1]!),
        ],
      ];
    }
    default:
      return [];
  }
}

function others(op: string): [key: string, words: string, apply: (x: Tensor) => Tensor][] {
  return Object.entries(ACTIVATIONS)
    .filter(([key]) => key !== op)
    .map(([key, [words, apply]]) => [key, words, apply]);
}

function chosen(x: Tensor, order: 'ascending' | 'descending', place: number): Tensor {
  return reshape(cont(slice(argsort(x, order), -1, place, place + 1)), [x.shape[0]!]);
}

export const forms: CauseKind = {
  name: 'another form of the op',
  *alternatives(op) {
    const byKey = new Map<string, { form: Form; nodes: Map<Tensor, Form> }>();
    for (const node of op.piece.nodes)
      for (const form of formsOf(node)) {
        const found = byKey.get(form[0]) ?? { form, nodes: new Map() };
        found.nodes.set(node, form);
        byKey.set(form[0], found);
      }
    const isSpan = new Set(op.piece.nodes.filter(({ op: name }) => name !== 'input').map(scopeOf)).size > 1;
    const where = (nodes: Iterable<Tensor>) =>
      isSpan
        ? [...new Set([...nodes].map(scopeOf))].map((scope) => `\`${scope}\``).join(', ')
        : valueWords(op.tap);
    // In a span of several ops each alone, and all that are alike together.
    for (const [key, { form, nodes }] of byKey) {
      yield offer(where(nodes.keys()), key, form, nodes);
      if (nodes.size > 1)
        for (const [node, own] of nodes)
          yield offer(where([node]), `${key} ${scopeOf(node)}`, own, new Map([[node, own]]));
    }
  },
};

/** The module in which a node was built. */
function scopeOf({ name }: Tensor): string {
  return name.slice(0, Math.max(0, name.indexOf('/'))).replace(/^layers\.\d+\.?/, '');
}

function offer(
  where: string,
  key: string,
  [, says, so]: Form,
  nodes: ReadonlyMap<Tensor, Form>,
): Alternative {
  const node: NodeEdit = (each, sources) => nodes.get(each)?.[3](sources);
  return { key: `form ${key}`, says: `in ${where} ${says}`, so, node };
}
