/**
 * The closed vocabulary: every op that a graph can hold, with the ggml function that computes it. Each op is
 * one exported function in `ops-*.ts`, which states and checks its shape rule and its dtype rule before ggml
 * sees the operands (ggml aborts the process on a wrong one, and its `supports_op` says yes to combinations
 * that abort). `test/graph` runs each op in every dtype that its rule accepts.
 */
const OPS = {
  // layout: no arithmetic; the first four move no data either
  reshape: 'reshape',
  view: 'view',
  permute: 'permute',
  transpose: 'transpose',
  cont: 'cont',
  cast: 'cast',
  copyInto: 'cpy',
  concat: 'concat',
  repeat: 'repeat',
  getRows: 'get_rows',
  setRows: 'set_rows',
  // arithmetic, element by element
  add: 'add',
  sub: 'sub',
  mul: 'mul',
  div: 'div',
  scale: 'scale',
  sqrt: 'sqrt',
  clamp: 'clamp',
  silu: 'silu',
  gelu: 'gelu', // the tanh approximation, through an F16 table on the CPU
  geluErf: 'gelu_erf',
  swiglu: 'swiglu',
  // along rows (the last axis)
  mean: 'mean',
  sumRows: 'sum_rows',
  rmsNorm: 'rms_norm',
  l2Norm: 'l2_norm',
  softMax: 'soft_max_ext',
  argmax: 'argmax',
  argsort: 'argsort',
  // products and convolutions
  mulMat: 'mul_mat',
  mulMatId: 'mul_mat_id',
  im2col: 'im2col',
  ssmConv: 'ssm_conv',
  rope: 'rope_ext',
} as const;

/** The name of an op of the vocabulary. */
export type OpName = keyof typeof OPS;

/** All ops, in the order of the table. */
export const OP_NAMES = Object.keys(OPS) as readonly OpName[];

/** Ops that only look at existing memory. */
export const VIEW_OPS: ReadonlySet<string> = new Set<OpName>(['reshape', 'view', 'permute', 'transpose']);

/** The ggml function behind an op, without its `ggml_` prefix. */
export function ggmlFunction(op: OpName): string {
  return OPS[op];
}
