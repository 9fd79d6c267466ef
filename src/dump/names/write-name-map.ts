import { mkdir, rename, writeFile } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { ZayascopeError } from '../../errors.js';
import type { NameMap } from './name-map.js';

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
  try {
    await mkdir(dirname(file), { recursive: true });
    const temporary = join(dirname(file), `.${basename(file)}.tmp`);
    await writeFile(temporary, `{\n${lines.join(',\n')}\n}\n`);
    await rename(temporary, file);
  } catch (cause) {
    throw new ZayascopeError(
      'IO',
      `writeNameMap: expected to write the map, got ${(cause as Error).message}`,
      {
        op: 'writeNameMap',
        tensor: file,
        cause,
      },
    );
  }
}

function list(entries: readonly unknown[]): string {
  return entries.length === 0
    ? '[]'
    : `[\n${entries.map((entry) => `  ${JSON.stringify(entry)}`).join(',\n')}\n ]`;
}
