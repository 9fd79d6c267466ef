import { mkdir } from 'node:fs/promises';
import { dirname } from 'node:path';
import { checkReplaceable, writeTextAtomically } from '../../weights/atomic-file.js';
import { ioError } from '../../weights/file-access.js';
import type { NameMap } from './name-map.js';

const OP = 'writeNameMap';

/** Refuses, before work is done for a map, to write it where something else lies. Throws `IO`. */
export function checkNameMapPlace(file: string): Promise<void> {
  return checkReplaceable(OP, file, 'a name map', (start) =>
    /^\s*\{[\s\S]*"(?:rules|evidence)"/.test(new TextDecoder().decode(start)),
  );
}

/** Writes a map as JSON with a line for each rule, whole or not at all. Throws `IO`. */
export async function writeNameMap(file: string, map: NameMap): Promise<void> {
  const { rules, evidence, ...head } = map;
  const lines = [
    ...Object.entries(head).map(([key, value]) => ` ${JSON.stringify(key)}: ${JSON.stringify(value)}`),
    ` "rules": ${list(rules)}`,
    ...(evidence === undefined
      ? []
      : [
          ` "evidence": {"tokens": ${evidence.tokens}, "paired": ${evidence.paired}, "open": ${list(evidence.open)}}`,
        ]),
  ];
  await mkdir(dirname(file), { recursive: true }).catch((cause: unknown) => {
    throw ioError(OP, 'a folder for the map', dirname(file), cause);
  });
  await writeTextAtomically(OP, file, `{\n${lines.join(',\n')}\n}\n`);
}

function list(entries: readonly unknown[]): string {
  return entries.length === 0
    ? '[]'
    : `[\n${entries.map((entry) => `  ${JSON.stringify(entry)}`).join(',\n')}\n ]`;
}
