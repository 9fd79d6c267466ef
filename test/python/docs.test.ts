import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, it } from 'vitest';
import { runCommand } from '../cli/run-command.js';
import { root, runPython } from '../reference/python.js';

const folder = mkdtempSync(join(tmpdir(), 'zayascope-python-docs-'));
afterAll(() => rmSync(folder, { recursive: true }));

it('shows Python that runs, one block after another, and dumps that the command line takes', async () => {
  const text = readFileSync(join(root, 'docs', 'python.md'), 'utf8');
  const blocks = [...text.matchAll(/^```python\n([\s\S]*?)^```$/gm)].map(([, code]) => code!);
  const short = /```python\n([\s\S]*?)```/.exec(readFileSync(join(root, 'python', 'README.md'), 'utf8'))![1]!;
  const code = [
    'import os, sys, warnings',
    `sys.path.insert(0, ${JSON.stringify(join(root, 'python'))})`,
    `os.chdir(${JSON.stringify(folder)})`,
    ...blocks,
    // what the package's own README assumes: a model, ids, and a dump to compare with
    'os.mkdir("short"); os.chdir("short")',
    'class Layered(torch.nn.Module):',
    '    def __init__(self):',
    '        super().__init__(); self.model = torch.nn.ModuleDict({"embed": torch.nn.Embedding(32, 8), "layers": torch.nn.ModuleList([torch.nn.Linear(8, 8)])})',
    '    def forward(self, ids): return self.model["layers"][0](self.model["embed"](ids))',
    'model = Layered()',
    'with zayascope.capture(model, "out/port", tokens=ids): model(ids)',
    short,
  ].join('\n');
  const { status, stdout, stderr } = runPython(['-c', code]);
  expect({ status, stderr }).toEqual({ status: 0, stderr: '' });
  const lines = stdout.trim().split('\n');
  expect(lines[0]).toBe('(5, 8)');
  expect(lines[1]).toBe('ref (reference) against bf16: 1 taps compared, 0 identical');
  expect(lines[3]).toMatch(/^return +F32\/BF16 +5 +\d\.\de-0\d/);
  expect(lines[4]).toBe('[0 0 0 1 1]');
  expect(lines.at(-1)).toMatch(/^return +F32 +5 +0\.0e\+00 .* identical$/);
  const compared = await runCommand(['diff', join(folder, 'out', 'ref'), join(folder, 'out', 'bf16')]);
  expect(compared.code).toBe(0);
  expect(compared.stdout).toMatch(/^first that is not identical: 0 /m);
});
