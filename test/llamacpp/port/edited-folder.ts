/** Folders of the branch with values left out or changed, as a port that writes others would leave them. */
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type PortName, portFolder, portScratch } from './port-folders.js';

/** What becomes of a folder. */
export interface Edit {
  /** True for lines of the index that stay; `name` is undefined of those that are no value. Default: all. */
  keeps?: (name: string | undefined, line: number) => boolean;
  /** Changes the elements of a value in place; all have 4 bytes, `ne` is ggml's shape. */
  change?: (name: string, values: Float32Array, ne: readonly number[]) => void;
}

/** Writes the folder with the edit as `as` into the scratch folder. */
export function editedFolder(name: PortName, as: string, { keeps, change }: Edit): string {
  const folder = portScratch(as);
  mkdirSync(folder);
  const values = readFileSync(join(portFolder(name), 'tensors.bin'));
  const parts: Uint8Array[] = [];
  let end = 0;
  const lines = readFileSync(join(portFolder(name), 'index.jsonl'), 'utf8')
    .trimEnd()
    .split('\n')
    .flatMap((line, number) => {
      const entry = JSON.parse(line);
      if (keeps?.(entry.name, number) === false) return [];
      if (entry.name === undefined) return [line];
      // Values are placed one after another: those of lines that are left out have to go too.
      const bytes = 4 * entry.ne.reduce((all: number, size: number) => all * size, 1);
      const own = new Uint8Array(values.subarray(entry.offset, entry.offset + bytes));
      change?.(entry.name, new Float32Array(own.buffer), entry.ne);
      parts.push(own);
      end += bytes;
      return [JSON.stringify({ ...entry, offset: end - bytes })];
    });
  writeFileSync(join(folder, 'index.jsonl'), `${lines.join('\n')}\n`);
  writeFileSync(join(folder, 'tensors.bin'), Buffer.concat(parts));
  return folder;
}
