import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { locateRecording, recordGguf } from '../../src/index.js';
import { formatLocatedRecording } from '../../src/recording/locate/format.js';
import { hasLibllama } from '../llamacpp/libllama.js';
import { describeWith } from '../system-package.js';
import { FAULTS, plant } from './faults.js';
import { modelMaker, PROMPT } from './models.js';

describeWith('a C++ compiler or libllama', hasLibllama, 'faults in recordings', () => {
  let folder: string;
  let make: Awaited<ReturnType<typeof modelMaker>>['make'];
  const plain = new Map<string, string>();
  beforeAll(async () => {
    ({ folder, make } = await modelMaker());
  }, 60_000);
  afterAll(() => rmSync(folder, { recursive: true, force: true }));

  const unaltered = async (architecture: string, flashAttention: boolean): Promise<string> => {
    const key = `${architecture}-${flashAttention}`;
    const known = plain.get(key);
    if (known !== undefined) return known;
    const out = join(folder, `plain-${key}`);
    plain.set(key, out);
    await recordGguf({
      model: make(architecture),
      tokens: PROMPT,
      generate: 1,
      threads: 1,
      flashAttention,
      out,
    });
    return out;
  };

  it.each(FAULTS.map((fault) => [fault.name, fault.architecture, fault] as const))(
    'names %s (%s) first',
    async (_, architecture, fault) => {
      const reference = await unaltered(architecture, fault.options?.flashAttention === true);
      const run = await plant(fault, make(architecture), reference, folder);
      const verdict = await locateRecording(run);
      const text = formatLocatedRecording(verdict);
      expect(text.match(/^first fault: (.+?) \([A-Z0-9_]+[,) ]/m)?.[1], text).toBe(fault.at);
      expect(text).toMatch(fault.says);
      expect(text.split('\n').length).toBeLessThanOrEqual(40);
      // What the error of the logits is made of: of the fault alone, but where a node is missing.
      const shares = verdict.nodes.filter(({ share }) => share !== undefined);
      const ofFaults = shares.filter(({ isFault }) => isFault).reduce((sum, { share }) => sum + share!, 0);
      if (verdict.parts !== null && verdict.missing.length === 0) expect(ofFaults).toBeGreaterThan(0.999);
    },
    60_000,
  );

  it('says which node of the reference is missing', async () => {
    const fault = FAULTS.find(({ name }) => name === 'scale of the embedding')!;
    const model = make(fault.architecture);
    const plain = await unaltered(fault.architecture, false);
    const { recording } = await plant(fault, model, plain, folder);
    const verdict = await locateRecording({ recording: plain, reference: recording, model });
    expect(verdict.found).toBe(true);
    expect(verdict.missing[0]).toMatch(/^SCALE /);
    expect(formatLocatedRecording(verdict)).toMatch(
      /FAULT .*nodes of the reference's graph are missing, first SCALE/,
    );
  }, 60_000);
});
