import { type Dtype, isQuantized, sizeBytes } from '../../dtype.js';
import { type TapElements, toFloat32 } from '../../dump/float.js';
import type { TapDtype } from '../../dump/format.js';
import { elementCount, formatShape, type Shape } from '../../graph/shape.js';
import { architectureOf } from '../../models/architectures.js';
import type { TypeConstant } from '../../models/runtime/call-sizes.js';
import { placeTables } from '../../models/runtime/inputs.js';
import { requiredTensors } from '../../models/runtime/weights.js';
import type { Checkpoint, TensorInfo } from '../../weights/checkpoint.js';
import { readTensor } from '../../weights/tensor-data.js';
import { badRepro, REPRO_FILES, type Repro } from './folder.js';
import type { Leaf } from './piece.js';
import { weightBytes } from './weights.js';

/** A tensor of a folder, in the dtype of the dump. */
export interface FolderValue {
  dtype: TapDtype;
  shape: Shape;
  data: TapElements;
}

/**
 * The bytes of a leaf in the dtype that the graph wants it in.
 * @throws `BAD_DUMP` where the folder lacks it or has another shape, dtype or, of indices, a value out of
 * range, on which ggml would abort; `IO`.
 */
export async function leafBytes(repro: Repro, leaf: Leaf): Promise<ArrayBufferView> {
  if (leaf.kind === 'constant') return constant(repro, leaf.name);
  if (leaf.kind === 'weight') return weightBytes(storedWeight(repro, leaf.name), leaf.dtype);
  const value = await folderValue(repro, 'inputs', leaf.input, leaf.shape);
  if ((leaf.dtype === 'I32') !== (value.dtype === 'I32'))
    throw badRepro(`${leaf.dtype} values`, value.dtype, `${leaf.input} in ${repro.dir}`);
  if (leaf.dtype !== 'I32') return toFloat32(value.data, value.dtype);
  const { config } = repro.description;
  const most = leaf.kind === 'tokens' ? config.vocab_size - 1 : architectureOf(config).classes(config) - 1;
  const wrong = value.data.find((id) => id < 0 || id > most);
  if (wrong !== undefined)
    throw badRepro(`values from 0 to ${most}`, String(wrong), `${leaf.input} in ${repro.dir}`);
  return value.data;
}

/** Reads a tensor of `inputs` or `expected` and checks its shape. */
export async function folderValue(
  repro: Repro,
  file: 'inputs' | 'expected',
  name: string,
  shape: Shape,
): Promise<FolderValue> {
  const info = tensorOf(repro[file], name, REPRO_FILES[file], repro.dir);
  const { dtype } = info;
  const where = `${name} in ${REPRO_FILES[file]} of ${repro.dir}`;
  if (dtype !== 'F32' && dtype !== 'F16' && dtype !== 'BF16' && dtype !== 'I32')
    throw badRepro('F32, F16, BF16 or I32', dtype, where);
  if (info.shape.join() !== shape.join()) throw badRepro(formatShape(shape), formatShape(info.shape), where);
  const bytes = await readTensor(info);
  const Elements = dtype === 'F32' ? Float32Array : dtype === 'I32' ? Int32Array : Uint16Array;
  return {
    dtype,
    shape,
    data: new Elements(bytes.buffer as ArrayBuffer, bytes.byteOffset, elementCount(shape)),
  };
}

/**
 * A weight of the folder with the dtype and shape that its description gives, which must be those that the
 * config asks for.
 */
export function storedWeight({ dir, description, weights }: Repro, name: string): TensorInfo {
  const where = `${name} of ${dir}`;
  const described = Object.hasOwn(description.weights, name) ? description.weights[name] : undefined;
  if (described === undefined) throw badRepro('the weight in repro.json', 'none', where);
  const { dtype, shape } = described;
  const required = requiredTensors(description.config).find((tensor) => tensor.name === name);
  const head = [description.config.vocab_size, description.config.hidden_size];
  const wanted = required?.shape ?? head;
  const isMatrix = required === undefined || required.role === 'matmul' || required.role === 'embedding';
  if (shape.join() !== wanted.join()) throw badRepro(formatShape(wanted), formatShape(shape), where);
  if (!isFloat(dtype) && !(isMatrix && isQuantized(dtype)))
    throw badRepro(`F32, F16${isMatrix ? ', BF16 or a quantised dtype' : ' or BF16'}`, dtype, where);
  const info = tensorOf(weights, name, REPRO_FILES.weights, dir);
  const columns = shape[shape.length - 1]!;
  const expected = (elementCount(shape) / columns) * sizeBytes(dtype, columns);
  if (info.sizeBytes !== expected || (isFloat(dtype) && info.dtype !== dtype))
    throw badRepro(`${expected} bytes of ${dtype}`, `${info.sizeBytes} bytes of ${info.dtype}`, where);
  return { ...info, dtype, shape };
}

function isFloat(dtype: Dtype): boolean {
  return dtype === 'F32' || dtype === 'F16' || dtype === 'BF16';
}

function tensorOf(checkpoint: Checkpoint, name: string, file: string, dir: string): TensorInfo {
  const info = checkpoint.tensors.get(name);
  if (info === undefined) throw badRepro(`${name} in ${file}`, 'none', dir);
  return info;
}

function constant({ description }: Repro, name: string): ArrayBufferView {
  const { config, tokens, op } = description;
  const table = architectureOf(config).tables(config)[name];
  if (table !== undefined) return table.values;
  const type = config.layer_types[Number(/^layers\.(\d+)/.exec(op)![1])]!;
  const sizes = { batch: 1, tokens, span: tokens, padded: false };
  return placeTables(config, type, sizes, { past: 0, padding: [] })[name as TypeConstant];
}
