import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { runCommand } from '../cli/run-command.js';
import { hasLibllama } from '../llamacpp/libllama.js';
import { describeWith } from '../system-package.js';
import { faultJob } from './locate-faults.js';
import { makeModels, newFolder, recordTiny } from './tiny-models.js';

describeWith('a C++ compiler or libllama', hasLibllama, 'locate --align', () => {
  const folder = newFolder();
  const at = (...names: string[]): string => join(folder, ...names);
  beforeAll(async () => {
    const tokens = makeModels([faultJob('llama', folder)]);
    for (const name of ['plain', 'fault-1'])
      await recordTiny(at(`${name}.gguf`), tokens, at(`${name}-recording`));
  });
  afterAll(() => rmSync(folder, { recursive: true, force: true }));

  it('says nothing of the same model', async () => {
    const args = ['locate', at('plain'), at('plain-recording'), '--align', '--model', at('plain.gguf')];
    const { code, stdout } = await runCommand(args);
    expect(code).toBe(0);
    expect(stdout.match(/^SILENT {2}/gm)).toHaveLength(2);
  });

  it('names the activation that is another, and says that it is no matter of arithmetic', async () => {
    const args = ['locate', at('fault-0'), at('plain-recording'), '--align', '--model', at('plain.gguf')];
    const { code, stdout } = await runCommand(args);
    expect(code).toBe(1);
    expect(stdout).toMatch(
      /^first: ffn_swiglu-0 \(GLU\), block 0: its inputs agree \(ffn_(gate|up)-0, ffn_(gate|up)-0\)/m,
    );
    expect(stdout).toMatch(/^semantic: /m);
  });

  it('names the rotation with another base', async () => {
    const { code, stdout } = await runCommand(['locate', at('plain'), at('fault-1-recording'), '--align']);
    expect(code).toBe(1);
    expect(stdout).toMatch(/^first: [QK]cur-0#2 \(ROPE\), block 0/m);
    expect(stdout).toMatch(/nodes were not run again/);
  });

  it('wants a recording, and no map', async () => {
    expect(await runCommand(['locate', at('plain'), at('plain'), '--align'])).toMatchObject({ code: 2 });
    const args = ['locate', at('plain'), at('plain-recording'), '--align', '--map', 'zaya'];
    expect(await runCommand(args)).toMatchObject({ code: 2 });
  });
});
