import { constants } from 'node:buffer';
import {
  closeSync,
  ftruncateSync,
  mkdtempSync,
  openSync,
  readFileSync,
  rmSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeEach, describe, expect, it } from 'vitest';
import { type NativeBackend, type NativeContext, native } from '../../src/native.js';
import { bytesOf, leaf } from './run-op.js';

const F32 = 0;
const folder = mkdtempSync(join(tmpdir(), 'zayascope-native-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

let backend: NativeBackend;
let context: NativeContext;
beforeEach(() => {
  backend = new (native().Backend)('CPU');
  context = new (native().Context)(16);
});

function code(run: () => unknown): string {
  try {
    run();
  } catch (error) {
    return (error as { code: string }).code;
  }
  return 'no error';
}

function floats(bytes: Uint8Array): number[] {
  return [...new Float32Array(bytes.buffer, bytes.byteOffset, bytes.byteLength / 4)];
}

describe('allocated memory', () => {
  it('is given to leaves that are no inputs, once', () => {
    const x = leaf(context, [4], 'x');
    const input = leaf(context, [4], 'input');
    context.setInput(input);
    const node = context.op('sqrt', [x], [], F32, [4, 1, 1, 1], 'node');
    const buffer = native().Buffer.allocate(backend, context);
    expect(context.view(x)).toHaveLength(16);
    for (const tensor of [input, node]) expect(code(() => context.view(tensor))).toBe('BACKEND');
    expect(buffer.sizeBytes).toBeGreaterThanOrEqual(16);
    expect(native().Buffer.allocate(backend, context).sizeBytes).toBe(0);
  });

  it('is written, read and filled in any range of the tensor', () => {
    const x = leaf(context, [4], 'x');
    native().Buffer.allocate(backend, context);
    context.fill(x, 0);
    context.write(x, bytesOf([7, 8]), 4);
    const out = new Uint8Array(12);
    context.read(x, out, 4);
    expect(floats(out)).toEqual([7, 8, 0]);
    context.write(x, new Uint8Array(0), 16);
  });

  it.each([
    ['write', () => context.write(0, new Uint8Array(8), 12)],
    ['read', () => context.read(0, new Uint8Array(17), 0)],
    ['read', () => context.read(0, new Uint8Array(0), 17)],
  ])('is not touched beyond the tensor (%s)', (_, run) => {
    leaf(context, [4], 'x');
    leaf(context, [4], 'neighbour');
    native().Buffer.allocate(backend, context);
    expect(code(run)).toBe('BAD_ARGUMENT');
  });

  it('is missing until it is allocated: BACKEND', () => {
    const x = leaf(context, [4], 'x');
    const calls = [
      () => context.read(x, new Uint8Array(4), 0),
      () => context.write(x, new Uint8Array(4), 0),
      () => context.fill(x, 0),
      () => context.view(x),
    ];
    expect(calls.map(code)).toEqual(['BACKEND', 'BACKEND', 'BACKEND', 'BACKEND']);
  });

  it('reports more than the machine has as BACKEND', () => {
    leaf(context, [2 ** 40, 64], 'huge');
    expect(code(() => native().Buffer.allocate(backend, context))).toBe('BACKEND');
    expect(code(() => context.view(0))).toBe('BACKEND');
  });
});

describe('views', () => {
  it('are windows into one ArrayBuffer per buffer, and show what is written', () => {
    const x = leaf(context, [4], 'x');
    const y = leaf(context, [4], 'y');
    const part = context.op('view', [x], [2, 1, 1, 1, 8, 8, 8, 8], F32, [2, 1, 1, 1], 'part');
    native().Buffer.allocate(backend, context);
    context.write(x, bytesOf([1, 2, 3, 4]), 0);
    expect(context.view(x).buffer).toBe(context.view(y).buffer);
    expect(floats(context.view(part))).toEqual([3, 4]);
    new Float32Array(context.view(y).buffer, context.view(y).byteOffset, 4).set([5, 6, 7, 8]);
    const out = new Uint8Array(16);
    context.read(y, out, 0);
    expect(floats(out)).toEqual([5, 6, 7, 8]);
  });

  it('are refused for strided tensors with BACKEND', () => {
    const x = leaf(context, [4, 3], 'x');
    const turned = context.op('transpose', [x], [], F32, [3, 4, 1, 1], 'turned');
    native().Buffer.allocate(backend, context);
    expect(code(() => context.view(turned))).toBe('BACKEND');
  });

  it('lose their bytes when the buffer is closed, and its tensors throw CLOSED', () => {
    const x = leaf(context, [4], 'x');
    const buffer = native().Buffer.allocate(backend, context);
    const view = context.view(x);
    buffer.close();
    buffer.close();
    expect(view).toHaveLength(0);
    const calls = [
      () => context.read(x, new Uint8Array(4), 0),
      () => context.write(x, new Uint8Array(4), 0),
      () => context.view(x),
      () => context.op('sqrt', [x], [], F32, [4, 1, 1, 1], 'y'),
      () => buffer.sizeBytes,
    ];
    expect(calls.map(code)).toEqual(['CLOSED', 'CLOSED', 'CLOSED', 'CLOSED', 'CLOSED']);
  });

  it('stay readable when all that made them is closed but the buffer, as when it is only dropped', () => {
    const x = leaf(context, [4], 'x');
    native().Buffer.allocate(backend, context);
    context.write(x, bytesOf([1, 2, 3, 4]), 0);
    const view = context.view(x);
    context.close();
    backend.close();
    expect(floats(view)).toEqual([1, 2, 3, 4]);
  });
});

describe('mapped files', () => {
  const path = join(folder, 'weights.bin');
  writeFileSync(path, bytesOf([0, 1, 2, 3, 4, 5, 6, 7]));

  it('serve as memory of leaves without a copy, and never change', () => {
    const mapping = new (native().Mapping)(path);
    expect(mapping.sizeBytes).toBe(32);
    const buffer = native().Buffer.fromMapping(backend, mapping);
    mapping.close();
    const x = leaf(context, [2], 'x');
    native().Buffer.attach(buffer, context, x, 8);
    expect(floats(context.view(x))).toEqual([2, 3]);
    context.view(x)[0] = 255;
    expect(new Uint8Array(readFileSync(path))).toEqual(bytesOf([0, 1, 2, 3, 4, 5, 6, 7]));
    expect(code(() => context.write(x, bytesOf([9]), 0))).toBe('BACKEND');
    expect(code(() => context.fill(x, 0))).toBe('BACKEND');
  });

  it.each([
    ['beyond the end', [4], 20],
    ['far beyond the end', [4], 2 ** 52],
    ['between two elements', [2], 6],
  ])('refuse a tensor %s with BAD_ARGUMENT', (_, ne, offset) => {
    const buffer = native().Buffer.fromMapping(backend, new (native().Mapping)(path));
    const x = leaf(context, ne, 'x');
    expect(code(() => native().Buffer.attach(buffer, context, x, offset))).toBe('BAD_ARGUMENT');
    expect(code(() => context.view(x))).toBe('BACKEND');
  });

  it('refuse a tensor that has memory already with BAD_ARGUMENT', () => {
    const buffer = native().Buffer.fromMapping(backend, new (native().Mapping)(path));
    const x = leaf(context, [2], 'x');
    native().Buffer.attach(buffer, context, x, 0);
    expect(code(() => native().Buffer.attach(buffer, context, x, 0))).toBe('BAD_ARGUMENT');
  });

  it('are read by copying, within their size', () => {
    const mapping = new (native().Mapping)(path);
    const out = new Uint8Array(8);
    mapping.read(24, out);
    expect(floats(out)).toEqual([6, 7]);
    expect(code(() => mapping.read(28, out))).toBe('BAD_ARGUMENT');
    mapping.close();
    expect(code(() => mapping.read(0, out))).toBe('CLOSED');
    expect(code(() => mapping.sizeBytes)).toBe('CLOSED');
  });

  it('report a file that has become shorter as IO', () => {
    const shrinking = join(folder, 'shrinking.bin');
    writeFileSync(shrinking, new Uint8Array(64));
    const mapping = new (native().Mapping)(shrinking);
    truncateSync(shrinking, 16);
    expect(code(() => mapping.read(0, new Uint8Array(64)))).toBe('IO');
  });

  it.each([
    ['a missing file', join(folder, 'missing')],
    ['a folder', folder],
  ])('report %s as IO', (_, missing) => {
    expect(code(() => new (native().Mapping)(missing))).toBe('IO');
  });

  it('report an empty file as IO', () => {
    writeFileSync(join(folder, 'empty'), '');
    expect(code(() => new (native().Mapping)(join(folder, 'empty')))).toBe('IO');
  });

  it('larger than an ArrayBuffer can be are usable, but for views', () => {
    // Sparse: takes no space on disk.
    const sizeBytes = 5 * 2 ** 30;
    const sparse = join(folder, 'sparse.bin');
    const file = openSync(sparse, 'w');
    ftruncateSync(file, sizeBytes);
    closeSync(file);
    const buffer = native().Buffer.fromMapping(backend, new (native().Mapping)(sparse));
    const x = leaf(context, [4], 'x');
    native().Buffer.attach(buffer, context, x, sizeBytes - 16);
    const out = new Uint8Array(16).fill(1);
    context.read(x, out, 0);
    expect(out).toEqual(new Uint8Array(16));
    if (constants.MAX_LENGTH < sizeBytes) expect(code(() => context.view(x))).toBe('BACKEND');
    else expect(context.view(x)).toEqual(out);
    buffer.close();
  });
});

describe('adopted tensors', () => {
  it('share their memory, whichever context got it, and survive the close of their own context', () => {
    const weights = new (native().Context)(4);
    const w = leaf(weights, [2], 'w');
    const handle = context.adopt(weights, w);
    native().Buffer.allocate(backend, weights);
    weights.write(w, bytesOf([3, 4]), 0);
    weights.close();
    expect(floats(context.view(handle))).toEqual([3, 4]);
  });

  it('must be leaves, of contexts that do not adopt back', () => {
    const other = new (native().Context)(4);
    const w = leaf(other, [2], 'w');
    const node = other.op('sqrt', [w], [], F32, [2, 1, 1, 1], 'node');
    expect(code(() => context.adopt(other, node))).toBe('BAD_ARGUMENT');
    context.adopt(other, w);
    const x = leaf(context, [2], 'x');
    expect(code(() => other.adopt(context, x))).toBe('BAD_ARGUMENT');
    expect(context.adopt(context, x)).toBe(x);
    other.close();
    expect(code(() => context.adopt(other, w))).toBe('CLOSED');
  });
});
