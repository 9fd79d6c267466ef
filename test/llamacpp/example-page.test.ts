/** The lines of docs/import.md that compile and run the example, as they stand there. */
import { execSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, symlinkSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { Dump } from '../../src/index.js';
import { runCommand } from '../cli/run-command.js';
import { root } from '../reference/python.js';
import { describeWith } from '../system-package.js';
import { backendEnvironment, hasLibllama, layOutLlama } from './libllama.js';
import { writeTinyLlama } from './tiny-llama.js';

const lines = readFileSync(join(root, 'docs', 'import.md'), 'utf8')
  .split('\n')
  .filter((line) => line.startsWith('g++ ') || line.startsWith('./example '));

describeWith('a C++ compiler or libllama', hasLibllama, "the page's lines of the shell", () => {
  let folder: string;
  beforeAll(async () => {
    folder = mkdtempSync(join(tmpdir(), 'zayascope-page-'));
    symlinkSync(join(root, 'dumps'), join(folder, 'dumps'));
    await layOutLlama(join(folder, 'LLAMA'));
    await writeTinyLlama(join(folder, 'model.gguf'), 300);
  });
  afterAll(() => rmSync(folder, { recursive: true, force: true }));

  it('compile the example, and run it into a folder that import reads', async () => {
    expect(lines).toHaveLength(2);
    const env = { ...backendEnvironment(), CXX: undefined };
    for (const line of lines) execSync(line, { cwd: folder, env, stdio: 'pipe' });
    const out = join(folder, 'imported');
    const args = [
      'import',
      join(folder, 'out', 'port'),
      '--map',
      join(import.meta.dirname, 'llama-map.json'),
      '--drop-unmapped',
      '--out',
      out,
    ];
    expect(await runCommand(args)).toMatchObject({ code: 0, stderr: '' });
    await using dump = await Dump.open(out);
    expect(dump.manifest.sequences).toEqual([{ tokens: [257, 91, 87, 101] }]);
    expect((await dump.read('lm_head')).shape).toEqual([4, 300]);
  }, 120_000);
});
