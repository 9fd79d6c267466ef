/**
 * The part of Python's pickle that `torch.save` writes for tensors: dictionaries, lists, tuples, numbers,
 * strings, and calls of the few functions that rebuild a tensor, which are described and never run. Anything
 * else is refused by name, as `torch.load(weights_only=True)` does. Opcodes:
 * https://github.com/python/cpython/blob/3.13/Lib/pickletools.py
 */

import { utf8Text } from '../../utf8.js';

/** A tensor as the pickle describes it: a view of a storage. */
export interface PickledTensor {
  storage: PickledStorage;
  /** First element, in elements of the storage. */
  offset: number;
  shape: number[];
  /** Elements from one entry of an axis to the next. */
  strides: number[];
}

/** A storage: a file of the archive. */
export interface PickledStorage {
  /** Class of the storage, e.g. `torch.BFloat16Storage`. */
  type: string;
  key: string;
  elements: number;
}

/** What a pickle can hold here. Functions that are none of a tensor's are refused before. */
export type Pickled =
  | null
  | boolean
  | number
  | bigint
  | string
  | Pickled[]
  | Map<Pickled, Pickled>
  | { tensor: PickledTensor }
  | { storage: PickledStorage }
  | { global: string };

/** What is wrong with a pickle; the caller says where. */
export class PickleError extends Error {}

const MARK = Symbol('mark');
const MAX_STACK = 10_000_000;

const PLAIN_GLOBALS = new Set([
  'collections.OrderedDict',
  'torch._utils._rebuild_tensor_v2',
  'torch._utils._rebuild_tensor',
  'torch._utils._rebuild_parameter',
  'torch.Size',
]);

/** Names that may stand in such a file; the caller judges storages by their type. */
function isAllowed(name: string): boolean {
  return (
    PLAIN_GLOBALS.has(name) ||
    /^torch(\.storage)?\.\w+Storage$/.test(name) ||
    /^torch\.(float|bfloat|int|uint|bool|complex)\w*$/.test(name)
  );
}

/**
 * Reads one pickle.
 * @throws PickleError for opcodes and functions that a file of tensors does not need, and for malformed data.
 */
export function readPickle(bytes: Uint8Array): Pickled {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const memo = new Map<number, Pickled>();
  const stack: (Pickled | typeof MARK)[] = [];
  let at = 0;
  const need = (count: number): number => {
    if (count > bytes.length - at) throw new PickleError('a whole pickle, got the end of the data');
    at += count;
    return at - count;
  };
  const line = (): string => {
    const end = bytes.indexOf(0x0a, at);
    if (end < 0) throw new PickleError('a whole pickle, got the end of the data');
    const text = textOf(at, end);
    at = end + 1;
    return text;
  };
  const textOf = (begin: number, end: number): string => {
    const text = utf8Text(bytes.subarray(begin, end));
    if (text === undefined) throw new PickleError('strings of UTF-8, got other bytes');
    return text;
  };
  const string = (length: number): string => {
    const begin = need(length);
    return textOf(begin, begin + length);
  };
  const push = (value: Pickled | typeof MARK): void => {
    if (stack.length >= MAX_STACK) throw new PickleError(`at most ${MAX_STACK} values, got more`);
    stack.push(value);
  };
  const pop = (): Pickled => {
    const value = stack.pop();
    if (value === undefined || value === MARK) throw new PickleError('a value on the stack, got none');
    return value;
  };
  const top = (): Pickled => {
    const value = stack.at(-1);
    if (value === undefined || value === MARK) throw new PickleError('a value on the stack, got none');
    return value;
  };
  const popMark = (): Pickled[] => {
    const mark = stack.lastIndexOf(MARK);
    if (mark < 0) throw new PickleError('a mark on the stack, got none');
    return stack.splice(mark).slice(1) as Pickled[];
  };
  const global = (name: string): Pickled => {
    if (!isAllowed(name)) throw new PickleError(`tensors alone, got a call of ${name}`);
    return { global: name };
  };
  const remembered = (index: number): Pickled => {
    const value = memo.get(index);
    if (value === undefined) throw new PickleError('a value of the memo, got none');
    return value;
  };
  const setItems = (items: readonly Pickled[]): void => {
    const target = top();
    if (!(target instanceof Map)) throw new PickleError('a dictionary to put items in, got another value');
    for (let k = 0; k + 1 < items.length; k += 2) target.set(items[k]!, items[k + 1]!);
  };
  const extend = (items: readonly Pickled[]): void => {
    const target = top();
    if (!Array.isArray(target)) throw new PickleError('a list to put items in, got another value');
    for (const item of items) target.push(item);
  };
  for (;;) {
    const opcode = bytes[need(1)]!;
    switch (opcode) {
      case 0x80: // PROTO
        need(1);
        break;
      case 0x95: // FRAME
        need(8);
        break;
      case 0x2e: {
        const root = pop();
        if (stack.length > 0) throw new PickleError('one value, got several');
        return root;
      }
      case 0x28:
        push(MARK);
        break;
      case 0x4e:
        push(null);
        break;
      case 0x88:
      case 0x89:
        push(opcode === 0x88);
        break;
      case 0x4a: // BININT
        push(view.getInt32(need(4), true));
        break;
      case 0x4b: // BININT1
        push(bytes[need(1)]!);
        break;
      case 0x4d: // BININT2
        push(view.getUint16(need(2), true));
        break;
      case 0x8a: // LONG1
        push(long(bytes, need, bytes[need(1)]!));
        break;
      case 0x47: // BINFLOAT, big-endian
        push(view.getFloat64(need(8), false));
        break;
      case 0x58: // BINUNICODE
        push(string(view.getUint32(need(4), true)));
        break;
      case 0x8c: // SHORT_BINUNICODE
      case 0x55: // SHORT_BINSTRING
        push(string(bytes[need(1)]!));
        break;
      case 0x7d:
        push(new Map());
        break;
      case 0x5d:
      case 0x29: // an empty tuple is a list that nothing changes
        push([]);
        break;
      case 0x74: // TUPLE
        push(popMark());
        break;
      case 0x85:
      case 0x86:
      case 0x87: {
        const items: Pickled[] = [];
        for (let k = 0; k < opcode - 0x84; k++) items.unshift(pop());
        push(items);
        break;
      }
      case 0x73: {
        const value = pop();
        const key = pop();
        setItems([key, value]);
        break;
      }
      case 0x75:
        setItems(popMark());
        break;
      case 0x61:
        extend([pop()]);
        break;
      case 0x65:
        extend(popMark());
        break;
      case 0x71: // BINPUT
        memo.set(bytes[need(1)]!, top());
        break;
      case 0x72: // LONG_BINPUT
        memo.set(view.getUint32(need(4), true), top());
        break;
      case 0x94: // MEMOIZE
        memo.set(memo.size, top());
        break;
      case 0x68:
        push(remembered(bytes[need(1)]!));
        break;
      case 0x6a:
        push(remembered(view.getUint32(need(4), true)));
        break;
      case 0x63: {
        const module = line();
        push(global(`${module}.${line()}`));
        break;
      }
      case 0x93: {
        const [name, module] = [pop(), pop()];
        if (typeof name !== 'string' || typeof module !== 'string')
          throw new PickleError('the name of a function, got another value');
        push(global(`${module}.${name}`));
        break;
      }
      case 0x51: // BINPERSID
        push({ storage: storageOf(pop()) });
        break;
      case 0x52: {
        const args = pop();
        push(call(pop(), args));
        break;
      }
      case 0x62: // BUILD: attributes of an OrderedDict (a state dict's _metadata)
        pop();
        if (!(top() instanceof Map))
          throw new PickleError('attributes of a dictionary, got those of another value');
        break;
      default:
        throw new PickleError(`tensors alone, got opcode 0x${opcode.toString(16)} of pickle`);
    }
  }
}

function long(bytes: Uint8Array, need: (count: number) => number, length: number): number | bigint {
  const begin = need(length);
  let value = 0n;
  for (let k = length - 1; k >= 0; k--) value = (value << 8n) | BigInt(bytes[begin + k]!);
  if (length > 0 && bytes[begin + length - 1]! >= 0x80) value -= 1n << BigInt(8 * length);
  return Number.isSafeInteger(Number(value)) ? Number(value) : value;
}

function storageOf(id: Pickled): PickledStorage {
  const [kind, type, key, place, elements, ...more] = Array.isArray(id) ? id : [];
  const isWhole = typeof place === 'string' && more.length === 0;
  if (kind !== 'storage' || !isGlobal(type) || typeof key !== 'string' || !isCount(elements) || !isWhole)
    throw new PickleError('a storage, got another persistent value');
  return { type: type.global, key, elements };
}

function call(callee: Pickled, args: Pickled): Pickled {
  if (!isGlobal(callee) || !Array.isArray(args))
    throw new PickleError('a call of a function, got another value');
  const { global: name } = callee;
  const wrong = (): PickleError => new PickleError(`the arguments of ${name}, got others`);
  switch (name) {
    case 'collections.OrderedDict':
      // Its items follow the call.
      if (args.length > 0) throw wrong();
      return new Map();
    case 'torch.Size':
      if (args.length !== 1 || !isCounts(args[0])) throw wrong();
      return args[0]!;
    case 'torch._utils._rebuild_parameter':
      if (args.length !== 3 || !isTensor(args[0]) || typeof args[1] !== 'boolean') throw wrong();
      return args[0]!;
    case 'torch._utils._rebuild_tensor':
      if (args.length !== 4) throw wrong();
      return { tensor: tensorOf(args) };
    case 'torch._utils._rebuild_tensor_v2': {
      const [, , , , needsGradient, , metadata = null] = args;
      if (args.length < 6 || args.length > 7 || typeof needsGradient !== 'boolean') throw wrong();
      if (metadata !== null) throw new PickleError('plain tensors, got one with bits of its own (conj, neg)');
      return { tensor: tensorOf(args) };
    }
    default:
      throw new PickleError(`tensors alone, got a call of ${name}`);
  }
}

function tensorOf([source, offset, shape, strides]: Pickled[]): PickledTensor {
  if (
    !isStorage(source) ||
    !isCount(offset) ||
    !isCounts(shape) ||
    !isCounts(strides) ||
    shape.length !== strides.length
  )
    throw new PickleError('storage, offset, shape and strides of a tensor, got others');
  return { storage: source.storage, offset, shape, strides };
}

function isTensor(value: Pickled | undefined): boolean {
  return typeof value === 'object' && value !== null && 'tensor' in value;
}

function isGlobal(value: Pickled | undefined): value is { global: string } {
  return typeof value === 'object' && value !== null && 'global' in value;
}

function isStorage(value: Pickled | undefined): value is { storage: PickledStorage } {
  return typeof value === 'object' && value !== null && 'storage' in value;
}

function isCount(value: Pickled | undefined): value is number {
  return typeof value === 'number' && Number.isSafeInteger(value) && value >= 0;
}

function isCounts(value: Pickled | undefined): value is number[] {
  return Array.isArray(value) && value.every(isCount);
}
