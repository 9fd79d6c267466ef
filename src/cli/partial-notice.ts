import { readManifest } from '../dump/manifest.js';
import type { Terminal } from './terminal.js';

/** Says which of several dumps are partial, where nothing else of a command would. @throws as `Dump.open`. */
export async function noticePartial(terminal: Terminal, ...folders: readonly string[]): Promise<void> {
  for (const folder of folders)
    if ((await readManifest(folder)).status === 'partial')
      terminal.notice(
        `zayascope: ${folder} is partial: its producer did not finish; what it lacks is not seen\n`,
      );
}
