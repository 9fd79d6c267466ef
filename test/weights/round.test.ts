import { expect, it } from 'vitest';
import { roundTo } from '../../src/weights/round.js';
import { pythonJson } from '../reference/python.js';

const values = Float32Array.from({ length: 4096 }, (_, k) => {
  const sign = k % 2 === 0 ? 1 : -1;
  return sign * (1 + ((k * 2654435761) % 65536) / 65536) * 2 ** (((k * 40503) % 60) - 40);
});
const ties = [
  1 + 2 ** -8,
  1 + 3 * 2 ** -8,
  1 + 2 ** -11,
  1 + 3 * 2 ** -11,
  2 ** -25,
  3 * 2 ** -25,
  65519,
  65520,
  3.4e38,
  -0,
  0,
];
const all = Float32Array.from([...values, ...ties, Number.POSITIVE_INFINITY, -70000, 6e-8, -2e-8]);

it.each(['BF16', 'F16'] as const)('rounds to %s as torch does', (dtype) => {
  const bits = Array.from(new Uint32Array(all.buffer));
  const expected = pythonJson<number[]>(
    [
      '-c',
      `import json, sys, numpy, torch
x = torch.from_numpy(numpy.array(json.load(sys.stdin), dtype=numpy.uint32).view(numpy.float32))
print(json.dumps(x.to(torch.${dtype === 'BF16' ? 'bfloat16' : 'float16'}).float().numpy().view(numpy.uint32).tolist()))`,
    ],
    JSON.stringify(bits),
  );
  const rounded = all.slice();
  roundTo(dtype, rounded);
  expect(Array.from(new Uint32Array(rounded.buffer))).toEqual(expected);
});
