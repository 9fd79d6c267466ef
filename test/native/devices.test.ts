import { expect, it } from 'vitest';
import { native } from '../../src/native.js';

it('reports the versions of ggml and of the headers, which agree', () => {
  const { ggml, commit, headers } = native().version();
  expect(ggml).toMatch(/^\d+\.\d+\.\d+$/);
  expect(commit).toMatch(/^[0-9a-f]+$/);
  expect(headers).toBe(ggml);
});

it('offers the CPU, which computes on mapped files', () => {
  const cpu = native()
    .devices()
    .find(({ name }) => name === 'CPU');
  expect(cpu).toMatchObject({ type: 'cpu', backend: 'CPU', bufferFromHostPointer: true });
  expect(cpu!.memoryTotalBytes).toBeGreaterThan(0);
});

it('names the features that the CPU library uses', () => {
  const features = native().cpuFeatures();
  expect(Object.keys(features).length).toBeGreaterThan(0);
  expect(Object.values(features).every((value) => typeof value === 'string')).toBe(true);
});

it('lists the devices that exist when it is asked for another', () => {
  expect(() => new (native().Backend)('Vulkan9')).toThrow(
    expect.objectContaining({ code: 'BAD_ARGUMENT', message: expect.stringContaining('CPU') }),
  );
});
