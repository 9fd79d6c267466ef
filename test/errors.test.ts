import { expect, test } from 'vitest';
import { badArgument, ZayascopeError } from '../src/errors.js';

test('the error of an argument is one sentence: operation, expectation, what came, where', () => {
  const error = badArgument('appendDump', '3 rows in the index', 4, 'layers.0.q');
  expect(error).toBeInstanceOf(ZayascopeError);
  expect(error).toMatchObject({ code: 'BAD_ARGUMENT', op: 'appendDump', tensor: 'layers.0.q' });
  expect(error.message).toBe('appendDump: expected 3 rows in the index, got 4 (layers.0.q)');
  expect('cause' in error).toBe(false);
});

test('without a place there are no brackets, and a cause is kept', () => {
  const cause = new TypeError('invalid byte');
  const error = badArgument('evaluate', 'UTF-8 text', 'other bytes', undefined, cause);
  expect(error.message).toBe('evaluate: expected UTF-8 text, got other bytes');
  expect(error.tensor).toBeUndefined();
  expect(error.cause).toBe(cause);
});
