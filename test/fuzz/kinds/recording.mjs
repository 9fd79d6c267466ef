/**
 * A recording: its graph, manifest and Arrow files, one damaged at a time, beside the whole one and its
 * model.
 */
import { mutateBytes } from '../mutate-bytes.mjs';
import { mutateJson } from '../mutate-json.mjs';

/** Seeds are of two attention models and a state space model. */
export const RECORDED = ['llama', 'qwen3moe', 'mamba2'];

const SIZES = [0, 1, 2, 3, 7, 16, 255, 4096, 2 ** 20, 2 ** 31, 2 ** 32, 2 ** 40, 2 ** 53 - 1, 2 ** 53, -1];
const TYPES = ['F32', 'F16', 'BF16', 'I32', 'I64', 'I8', 'Q8_0', 'Q4_K', 'IQ1_S', 'MXFP4', 'U8', 'NO'];
const OPS = (
  'NONE MUL_MAT MUL_MAT_ID ADD MUL SCALE CPY CONT VIEW RESHAPE PERMUTE GET_ROWS SET_ROWS SOFT_MAX ROPE NORM RMS_NORM ' +
  'ARGSORT TOP_K CONCAT SUM_ROWS SSM_CONV SSM_SCAN FLASH_ATTN_EXT IM2COL POOL_2D PAD UNARY GLU SOLVE_TRI CUSTOM MAP_CUSTOM1 NO'
).split(' ');

/** By name: what becomes of one tensor of a graph. */
const TENSOR_CHANGES = {
  ne: (random, tensor) => ({ ne: withOne(random, tensor.ne, random.pick(SIZES)) }),
  nb: (random, tensor) => ({ nb: withOne(random, tensor.nb, random.pick(SIZES)) }),
  transposed: (random, tensor) => {
    const [a, b] = [random.below(4), random.below(4)];
    const swapped = (list) => list.map((_, k) => list[k === a ? b : k === b ? a : k]);
    return { ne: swapped(tensor.ne), ...(random.oneIn(2) && { nb: swapped(tensor.nb) }) };
  },
  src: (random, tensor, { tensors }) => ({
    src: withOne(
      random,
      tensor.src,
      random.pick([null, -1, tensors.length, 2 ** 31, random.below(tensors.length)]),
    ),
  }),
  'sources turned': (_, tensor) => ({ src: [...tensor.src].reverse() }),
  'a source less': (_, tensor) => ({ src: tensor.src.slice(0, -1) }),
  'more sources': (random, tensor, { tensors }) => ({
    src: [...tensor.src, ...Array.from({ length: 1 + random.below(12) }, () => random.below(tensors.length))],
  }),
  viewSrc: (random, _, { tensors }) => ({
    viewSrc: random.pick([null, random.below(tensors.length), tensors.length]),
  }),
  'a view of itself': (_, tensor) => ({ viewSrc: tensor.id }),
  viewOffs: (random) => ({ viewOffs: random.pick(SIZES) }),
  type: (random) => ({ type: random.pick(TYPES) }),
  op: (random) => ({ op: random.pick(OPS) }),
  params: (random, tensor) => ({
    params: random.pick([
      'ff'.repeat(64),
      '00',
      'ffffff7f',
      '',
      '0000807f'.repeat(16),
      'ff'.repeat(65),
      `01${tensor.params.slice(2)}`,
    ]),
  }),
  flags: (random) => ({ flags: random.pick(SIZES) }),
  axes: (random) => ({
    axes: random.pick([[0], [3, 2, 1, 0], [0, 1, 2, 3], [], [1, 0], [4], [0, 0], [2, 1, 0]]),
  }),
  tap: (random, _, { tensors }) => ({ tap: random.pick([undefined, ...tensors.map(({ tap }) => tap)]) }),
  weight: (random, _, { tensors }) => ({
    weight: random.pick(['none', '', ...tensors.map(({ weight }) => weight)]),
  }),
  state: (random) => ({ state: random.pick(['zero', 'tap', 'none']) }),
  id: (random) => ({ id: random.pick(SIZES) }),
};

/** By name: what becomes of the order of nodes. */
const ORDER_CHANGES = {
  'nodes turned': (_, graph) => ({ nodes: [...graph.nodes].reverse() }),
  'two nodes swapped': (random, graph) => {
    const nodes = [...graph.nodes];
    const [a, b] = [random.below(nodes.length), random.below(nodes.length)];
    [nodes[a], nodes[b]] = [nodes[b], nodes[a]];
    return { nodes };
  },
  'a node less': (random, graph) => ({ nodes: graph.nodes.toSpliced(random.below(graph.nodes.length), 1) }),
  'a node more': (random, graph, { tensors }) => ({
    nodes: [...graph.nodes, random.below(tensors.length + 1)],
  }),
  step: (random) => ({ step: random.pick([...SIZES, 99]) }),
};

export const RECORDING_KINDS = [
  {
    kind: 'recording',
    seeds: RECORDED.map((architecture) => `recording-${architecture}`),
    target: '.',
    oracle: 'recording',
    /** ggml ends its process over some graphs; the library then runs it in a child and says where. */
    inChild: 'recording-in-child',
    mutate(random, files) {
      const names = [...files.keys()].filter((name) => name.startsWith('run/'));
      if (random.oneIn(6)) return cut(random, files, random.pick(names));
      if (random.oneIn(6)) return mutant(files, 'run/manifest.json', (bytes) => mutateJson(random, bytes));
      if (random.oneIn(5)) {
        const name = random.pick(names.filter((each) => /(model|layers.\d)\.arrow$/.test(each)));
        return mutant(files, name, (bytes) => {
          const range = random.pick([{ to: 4096 }, { from: Math.max(0, bytes.length - 4096) }, {}]);
          return mutateBytes(random, bytes, range);
        });
      }
      if (random.oneIn(5)) return mutant(files, 'run/graph.json', (bytes) => mutateJson(random, bytes));
      return mutant(files, 'run/graph.json', (bytes) => changeGraph(random, bytes));
    },
    check,
  },
];

const mutant = (files, name, change) => new Map([[name, change(files.get(name))]]);

function cut(random, files, name) {
  return mutant(files, name, (bytes) => bytes.subarray(0, random.below(bytes.length)));
}

function changeGraph(random, bytes) {
  const graph = JSON.parse(bytes.toString('utf8'));
  const times = 1 + random.below(2);
  for (let k = 0; k < times; k++)
    if (random.oneIn(8)) {
      const one = random.pick(graph.graphs);
      Object.assign(one, ORDER_CHANGES[random.pick(Object.keys(ORDER_CHANGES))](random, one, graph));
    } else {
      const tensor = random.pick(graph.tensors);
      Object.assign(tensor, TENSOR_CHANGES[random.pick(Object.keys(TENSOR_CHANGES))](random, tensor, graph));
    }
  return Buffer.from(JSON.stringify(graph));
}

function withOne(random, list, value) {
  const at = random.below(Math.max(1, list.length));
  return list.map((old, k) => (k === at ? value : old));
}

/**
 * Whether an answer is right. `ours`: what `readers.mjs` says of the mutant; `right`: which columns differ
 * from the whole recording's as pyarrow reads them, and whether anything does.
 *
 * @returns what is wrong, or undefined.
 */
function check(ours, right) {
  const [[verdict], [, , computed]] = ours;
  const changed = right.find(([name]) => name === 'changed')[2].filter((name) => computed.includes(name));
  const isWhole = right.find(([name]) => name === 'whole')[2];
  if (verdict === 'pass' && changed.length > 0)
    return `passes, though ${changed.slice(0, 3).join(', ')} differ`;
  if (verdict !== 'pass' && isWhole) return `${verdict}, though nothing differs`;
  return undefined;
}
