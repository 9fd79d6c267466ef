import { readFileSync } from 'node:fs';
import { inspect } from 'node:util';
import { expect, it } from 'vitest';
import { Dump } from '../../src/dump/reader.js';
import { openStepper } from '../../src/locate/step/step.js';
import { openZaya } from '../../src/models/zaya/open.js';

const AsyncFunction = (async () => {}).constructor as new (
  ...args: string[]
) => (...args: unknown[]) => Promise<void>;

it('the examples of docs/stepping.md print what they say', async () => {
  const text = readFileSync('docs/stepping.md', 'utf8');
  const code = [...text.matchAll(/^```js\n([\s\S]*?)^```/gm)].map(([, block]) => block!).join('');
  const promised = [...code.matchAll(/^console\.log\(.*\); \/\/ (.*)$/gm)].map(([, output]) => output);
  expect(promised.length).toBeGreaterThan(15);
  expect(promised.length).toBe(code.split('console.log(').length - 1);
  const printed: string[] = [];
  const log = (...values: unknown[]) =>
    printed.push(values.map((value) => (typeof value === 'string' ? value : inspect(value))).join(' '));
  const body = code.replace(/^import .*$/gm, '');
  await new AsyncFunction('Dump', 'openStepper', 'openZaya', 'console', body)(Dump, openStepper, openZaya, {
    log,
  });
  expect(printed).toEqual(promised);
});
