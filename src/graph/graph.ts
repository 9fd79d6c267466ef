import type { Dtype } from '../dtype.js';
import { badArgument, unmet } from '../errors.js';
import type { OpName } from './ops.js';
import { VIEW_OPS } from './ops.js';
import { checkShape, formatShape, type Shape } from './shape.js';
import { contiguousStrides, isContiguous, isPacked, type ResidentTensor, type Tensor } from './tensor.js';

/** What an op's rule has found out about its result. Without strides the result is contiguous. */
export interface NodeSpec {
  op: OpName;
  sources: readonly Tensor[];
  params?: readonly number[];
  dtype: Dtype;
  shape: Shape;
  strides?: readonly number[];
}

/**
 * A list of tensors in execution order, built by the functions of `graph/ops` and turned into a ggml graph by
 * `compileGraph`. Building checks every shape and dtype and touches no native code.
 */
export class Graph {
  readonly label: string;
  readonly tensors: Tensor[] = [];
  /** Values to read after a run, by name. */
  readonly outputs = new Map<string, Tensor>();
  /** Nodes that must run although no output needs them (copies into resident memory). */
  readonly effects: Tensor[] = [];
  readonly #residents = new Map<ResidentTensor, Tensor>();
  #scope = '';

  /** @param label names the graph in errors, e.g. `layers.3`. */
  constructor(label: string) {
    this.label = label;
  }

  /** A leaf that the caller fills before each run. Names are unique within a graph (`BAD_ARGUMENT`). */
  input(name: string, dtype: Dtype, shape: Shape): Tensor {
    if (this.tensors.some((tensor) => tensor.op === 'input' && tensor.name === name))
      throw badArgument('input', 'a new name', `${name} twice (graph ${this.label})`);
    return this.#add({ op: 'input', sources: [], dtype, shape }, name, undefined);
  }

  /** The leaf that stands for memory that outlives the graph; the same tensor each time it is asked for. */
  resident(memory: ResidentTensor): Tensor {
    let leaf = this.#residents.get(memory);
    if (leaf === undefined) {
      leaf = this.#add(
        { op: 'resident', sources: [], dtype: memory.dtype, shape: memory.shape },
        memory.name,
        memory,
      );
      this.#residents.set(memory, leaf);
    }
    return leaf;
  }

  /** Adds a node whose rule has passed. Called by the op functions only. */
  emit(spec: NodeSpec): Tensor {
    for (const source of spec.sources)
      if (source.graph !== this)
        throw unmet(
          'BAD_ARGUMENT',
          spec.op,
          'tensors of one graph',
          `${source.name} of graph ${source.graph.label}`,
          { where: `graph ${this.label}`, tensor: source.name },
        );
    if (spec.sources.some(({ resident }) => resident?.isRepacked)) checkRepacked(spec);
    const name = `${this.#scope === '' ? '' : `${this.#scope}/`}${spec.op}#${this.tensors.length}`;
    return this.#add(spec, name, undefined);
  }

  /** Names the nodes that follow after the value that they compute; shown in errors. */
  scope(name: string): void {
    this.#scope = name;
  }

  /**
   * Makes a value readable after a run, under a unique name. Its memory is not reused within the graph.
   * Throws `BAD_ARGUMENT` for a name that is taken or a tensor of another graph, `SHAPE_MISMATCH` for a
   * strided one, whose bytes are no array of its shape (`cont` makes it one).
   */
  output(name: string, tensor: Tensor): void {
    if (this.outputs.has(name))
      throw badArgument('output', 'a new name', `${name} twice (graph ${this.label})`);
    if (tensor.graph !== this)
      throw unmet(
        'BAD_ARGUMENT',
        'output',
        `a tensor of graph ${this.label}`,
        `${tensor.name} of graph ${tensor.graph.label}`,
        { where: name, tensor: tensor.name },
      );
    if (!isPacked(tensor))
      throw unmet(
        'SHAPE_MISMATCH',
        'output',
        'a contiguous tensor (use cont)',
        `${formatShape(tensor.shape)} ${tensor.dtype} with strides of ${formatShape(tensor.strides)} bytes`,
        {
          where: `${name}, ${tensor.name}`,
          tensor: tensor.name,
          shapes: [tensor.shape],
          dtypes: [tensor.dtype],
        },
      );
    this.outputs.set(name, tensor);
  }

  /** Nodes that compute or move data: views, reshapes, permutes and leaves do not count. */
  get computeNodes(): number {
    return this.tensors.filter(({ op }) => op !== 'input' && op !== 'resident' && !VIEW_OPS.has(op)).length;
  }

  #add(
    spec: Omit<NodeSpec, 'op'> & { op: Tensor['op'] },
    name: string,
    resident: ResidentTensor | undefined,
  ): Tensor {
    checkShape(spec.op, spec.shape, name);
    const tensor: Tensor = {
      graph: this,
      id: this.tensors.length,
      op: spec.op,
      dtype: spec.dtype,
      shape: spec.shape,
      strides: spec.strides ?? contiguousStrides(spec.dtype, spec.shape),
      sources: spec.sources,
      params: spec.params ?? [],
      name,
      resident,
    };
    this.tensors.push(tensor);
    return tensor;
  }
}

/**
 * What the device has rearranged for products is no array of its shape to any other kernel, which would
 * compute nonsense or abort.
 */
function checkRepacked({ op, sources }: NodeSpec): void {
  const [matrix, rows, ...rest] = sources;
  const isProduct = (op === 'mulMat' || op === 'mulMatId') && rows?.dtype === 'F32' && isContiguous(rows);
  if (isProduct && [rows, ...rest].every(({ resident }) => !resident?.isRepacked)) return;
  const { name, shape, dtype } = sources.find(({ resident }) => resident?.isRepacked) ?? matrix!;
  throw unmet(
    'DTYPE_UNSUPPORTED',
    op,
    'a repacked weight as the matrix of mulMat or mulMatId with contiguous F32 rows',
    `${formatShape(shape)} ${dtype} (${name}); load the model without \`repack\``,
    { tensor: name, shapes: [shape], dtypes: [dtype] },
  );
}
