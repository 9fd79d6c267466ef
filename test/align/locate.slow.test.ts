import { existsSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { locateAligned } from '../../src/index.js';
import { hasLibllama } from '../llamacpp/libllama.js';
import { describeWith } from '../system-package.js';
import { faultJob, namesRight, PLANTED } from './locate-faults.js';
import { makeModels, newFolder, recordTiny } from './tiny-models.js';

const FAMILIES = Object.keys(PLANTED);

describeWith('a C++ compiler or libllama', hasLibllama, 'locate --align of every family', () => {
  const folder = newFolder();
  const at = (...names: string[]): string => join(folder, ...names);
  let tokens: number[];
  beforeAll(() => {
    tokens = makeModels(FAMILIES.map((family) => faultJob(family, at(family))));
  });
  afterAll(() => rmSync(folder, { recursive: true, force: true }));

  const recordings = new Map<string, Promise<string>>();
  const recordingOf = (family: string, name: string): Promise<string> => {
    const file = at(family, `${existsSync(at(family, `${name}.gguf`)) ? name : 'plain'}.gguf`);
    const known = recordings.get(file) ?? recordTiny(file, tokens, `${file}-recording`);
    recordings.set(file, known);
    return known;
  };
  const named: [string, boolean, string][] = [];

  it.each(FAMILIES)('says nothing of %s as it is', async (family) => {
    const verdict = await locateAligned(at(family, 'plain'), await recordingOf(family, 'plain'));
    expect(verdict).toMatchObject({ faults: [], first: null, isOpen: false, found: false });
  });

  it.each(
    FAMILIES.flatMap((family) =>
      Object.keys(PLANTED[family]!).map((fault, k) => [family, fault, k] as const),
    ),
  )('%s, %s: is found', async (family, fault, k) => {
    const recording = await recordingOf(family, `fault-${k}`);
    const own = at(family, `fault-${k}`);
    const verdict = await locateAligned(existsSync(own) ? own : at(family, 'plain'), recording);
    expect(verdict.found).toBe(true);
    const isRight = await namesRight(verdict, PLANTED[family]![fault]!, recording);
    named.push([`${family}, ${fault}`, isRight, verdict.faults[0]?.name ?? 'none']);
  });

  it('names the right op or its neighbour first in at least 90 %', () => {
    const wrong = named.filter(([, isRight]) => !isRight);
    console.log(
      `${named.length - wrong.length} of ${named.length}; not: ${wrong.map(([what, , name]) => `${what} (${name})`).join('; ')}`,
    );
    expect(named.length - wrong.length).toBeGreaterThanOrEqual(0.9 * named.length);
  });
});
