import { writeFileSync } from 'node:fs';
import { expect, it } from 'vitest';
import { formatAligned } from '../../src/align/locate/format-aligned.js';
import { toFloat32 } from '../../src/dump/float.js';
import { blockOfTap, compileNameMap } from '../../src/dump/names/name-map.js';
import { align, Dump, locateAligned, NAME_MAPS } from '../../src/index.js';
import { runCommand } from '../cli/run-command.js';
import {
  PORT_IDS,
  portFolder,
  portReference,
  portScratch,
  TINY_MODEL,
} from '../llamacpp/port/port-folders.js';

const TITLE =
  'finds all that the built-in map of the llama.cpp port of ZAYA holds in %s, without its names, and nothing else';

it.each(['after-f32', 'before-f32'] as const)(TITLE, async (folder) => {
  const [map, out] = [portScratch('no-names.json'), portScratch(`${folder}-without-names`)];
  writeFileSync(map, JSON.stringify({ name: 'none', rules: [] }));
  const args = ['import', portFolder(folder), '--map', map, '--keep-unmapped', '--out', out];
  expect(await runCommand(args)).toMatchObject({ code: 0 });
  const { pairs } = await align(portReference(), out);
  await using dump = await Dump.open(out);
  await using reference = await Dump.open(portReference());
  const known = compileNameMap(NAME_MAPS.llamacpp!);
  const taps = new Set(reference.taps.map(({ name }) => name));
  const blocks = 1 + Math.max(...[...taps].map((tap) => blockOfTap(tap) ?? 0));
  const held = new Map<string, string[]>();
  for (const { name } of dump.taps)
    for (const { tap } of known.resolve(name, blocks))
      if (taps.has(tap)) held.set(tap, [...(held.get(tap) ?? []), name]);
  const sorted = async (name: string): Promise<string> => {
    const { data, dtype } = await dump.read(name);
    return toFloat32(data, dtype).toSorted().join();
  };
  const wrong: string[] = [];
  for (const { tap, from } of pairs) {
    const names = held.get(tap) ?? [];
    // The map may name a copy: kqv_out of kqv, moe_out of the one expert's weighted output.
    const isSame =
      names.includes(from) || (await Promise.all(names.map(sorted))).includes(await sorted(from));
    if (!isSame) wrong.push(`${tap} <- ${from}, not ${names}`);
  }
  expect(wrong).toEqual([]);
  expect(held.size).toBe(324);
  expect(pairs.map(({ tap }) => tap).toSorted()).toEqual([...held.keys()].toSorted());
});

it('finds no fault in a run of our own that rounds as llama.cpp does, and lists its im2col', async () => {
  const out = portScratch('nodes');
  const run = ['--model', TINY_MODEL, '--tokens', PORT_IDS.join(), '--nodes', '--policy', 'llamacpp'];
  expect(await runCommand(['capture', ...run, '--threads', '1', '--out', out])).toMatchObject({ code: 0 });
  const verdict = await locateAligned(portReference(), out, { model: TINY_MODEL });
  expect(verdict).toMatchObject({ faults: [], numeric: [], found: false });
  expect(verdict.paired).toBeGreaterThan(250);
  expect(formatAligned(verdict)).toMatch(/^ {2}im2col in F16 +\d+ /m);
});
