import { copyFileSync, cpSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { runCommand } from '../cli/run-command.js';
import { hasLibllama } from '../llamacpp/libllama.js';
import { pythonPath } from '../reference/python.js';
import { describeWith } from '../system-package.js';
import { modelMaker, python } from './models.js';

/** What the head is given becomes 0, by gguf-py; prints the context that the model was trained with. */
const DEAD_HEAD = `
import json, sys
from gguf import GGUFReader
reader = GGUFReader(sys.argv[1], 'r+')
[head] = [t for t in reader.tensors if t.name == 'output_norm.weight']
head.data[:] = 0
reader.data.flush()
print(json.dumps(int(reader.fields['llama.context_length'].parts[-1][0])))
`;

describeWith('a C++ compiler or libllama', hasLibllama, 'runs that show less than it seems', () => {
  let folder: string;
  let model: string;
  let dead: string;
  let context: number;
  const out = (name: string): string => join(folder, name);
  const flat = /^note +all logits are equal: no token is likelier than another$/m;
  beforeAll(async () => {
    const maker = await modelMaker();
    folder = maker.folder;
    model = maker.make('llama');
    dead = out('dead.gguf');
    copyFileSync(model, dead);
    context = python(pythonPath(), DEAD_HEAD, [dead]);
    const { code, stdout } = await runCommand(['record', dead, '--tokens', '1,2,3', '--out', out('flat')]);
    expect(code).toBe(0);
    expect(stdout).toMatch(flat);
  }, 60_000);
  afterAll(() => rmSync(folder, { recursive: true, force: true }));

  it('a model without a head is told as such by locate and invariance', async () => {
    const located = await runCommand(['locate', out('flat'), '--model', dead]);
    expect(located.stdout).toMatch(/^note: all logits are equal: no token is likelier than another$/m);
    const varied = await runCommand(['invariance', dead, '--tokens', '1,2,3']);
    expect(varied.stdout).toMatch(/^note: all logits are equal: no token is likelier than another$/m);
  }, 60_000);

  it('a run beyond the context that the model was trained with is told', async () => {
    const tokens = Array.from({ length: context + 1 }, (_, k) => k % 200);
    const run = (ids: number[]) =>
      runCommand(['record', model, '--tokens', ids.join(','), '--out', out('long'), '--overwrite']);
    const sentence = `${tokens.length} tokens are more than the context of ${context} that the model was trained with`;
    expect((await run(tokens)).stdout).toContain(sentence);
    const { stdout } = await run(tokens.slice(1));
    expect(stdout).not.toMatch(/^note/m);
  }, 60_000);

  it('a recording whose run did not finish is not judged, and replays as partial', async () => {
    const partial = out('partial');
    cpSync(out('flat'), partial, { recursive: true });
    const file = join(partial, 'manifest.json');
    writeFileSync(file, JSON.stringify({ ...JSON.parse(readFileSync(file, 'utf8')), status: 'partial' }));
    const verdict =
      /^NOT JUDGED {2}partial is partial: its run did not finish; the \d+ values that are there/m;
    const alone = await runCommand(['locate', partial, '--model', dead]);
    expect(alone).toMatchObject({ code: 1, stdout: expect.stringMatching(verdict) });
    for (const [reference, tested] of [
      [partial, out('flat')],
      [out('flat'), partial],
    ] as const) {
      const pair = await runCommand(['locate', reference, tested, '--model', dead]);
      expect(pair).toMatchObject({ code: 1, stdout: expect.stringMatching(verdict) });
    }
    const replayed = await runCommand(['replay', partial, '--model', dead]);
    expect(replayed).toMatchObject({
      code: 1,
      stdout: expect.stringMatching(/^PARTIAL: the run did not finish/m),
    });
    const whole = await runCommand(['locate', out('flat'), '--model', dead]);
    expect(whole).toMatchObject({ code: 0, stdout: expect.stringMatching(/^SILENT/m) });
  }, 60_000);
});
