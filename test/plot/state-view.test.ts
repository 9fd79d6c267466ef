import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { captureSession } from '../../src/capture/capture-session.js';
import { Dump } from '../../src/dump/reader.js';
import { openModel } from '../../src/models/runtime/model.js';
import { stateView } from '../../src/plot/tensor/state-view.js';
import { expectDrawn, openBrowser } from '../browser.js';
import { root } from '../reference/python.js';
import { chromiumPath, describeWith } from '../system-package.js';

const folder = mkdtempSync(join(tmpdir(), 'zayascope-states-'));
const tiny = join(root, 'dumps', 'tiny');
const dumps: Dump[] = [];
beforeAll(async () => {
  for (const policy of ['f32', 'llamacpp']) {
    using model = await openModel(join(tiny, 'model'), { policy });
    using session = model.session({ capacity: 16 });
    const out = join(folder, policy);
    const captured = await captureSession(model, session, { out, taps: 'layers.1.self_attn**' });
    await captured.forward([70, 71, 72, 73]);
    await captured.forward([74]);
    await captured.finish();
    dumps.push(await Dump.open(out));
  }
});
afterAll(async () => {
  for (const dump of dumps) await dump.close();
  rmSync(folder, { recursive: true });
});

describe('stateView', () => {
  it.each([
    ['keys', 2, [5, 16]],
    ['values', 2, [5, 16]],
    ['convolution', 1, undefined],
    ['delayed', 1, undefined],
  ] as const)('draws the %s, which grow step by step', async (state, facets, size) => {
    const { data, title } = await stateView(dumps[0]!, 1, state);
    expect(data).toHaveLength(facets);
    expect(title).toMatch(/^layers\.1\.self_attn.* after step 1$/);
    const z = data[0]!.z as number[][];
    if (size !== undefined) expect([z.length, z[0]!.length]).toEqual(size);
    const earlier = (await stateView(dumps[0]!, 1, state, { step: 0 })).data[0]!.z as number[][];
    if (size !== undefined) expect(earlier).toEqual(z.slice(0, 4));
  });

  it('compares two runs: keys in F16 differ', async () => {
    const { data } = await stateView(dumps[0]!, 1, 'keys', { tested: dumps[1]! });
    expect(data).toHaveLength(6);
    expect((data[2]!.z as number[][]).flat().some((value) => value !== 0)).toBe(true);
  });

  it('refuses a dump without states', async () => {
    await using prefill = await Dump.open(join(tiny, 'reference-float32'));
    await expect(stateView(prefill, 1, 'keys')).rejects.toThrow(/expected the captured states of a session/);
  });
});

describeWith('Chromium', chromiumPath() !== undefined, 'in a browser', () => {
  it('states are valid plotly and draw offline', async () => {
    const figures = [
      ...(await Promise.all(
        (['keys', 'values', 'convolution', 'delayed'] as const).map((state) =>
          stateView(dumps[0]!, 1, state),
        ),
      )),
      await stateView(dumps[0]!, 1, 'keys', { tested: dumps[1]! }),
    ];
    const browser = await openBrowser();
    try {
      await expectDrawn(browser, 'states', figures);
    } finally {
      await browser.close();
    }
  });
});
