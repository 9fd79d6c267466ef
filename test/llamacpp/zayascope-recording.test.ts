import {
  cpSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { Dump, importRecording, locateRecording, replayRecording } from '../../src/index.js';
import { runCommand } from '../cli/run-command.js';
import { describeWith } from '../system-package.js';
import { compileProgram, hasLibllama, libllamaFiles, runProgram } from './libllama.js';

const root = join(import.meta.dirname, '..', '..');
const MODEL = join(root, 'dumps', 'tiny', 'lfm2.gguf');

describeWith('a C++ compiler or libllama', hasLibllama, 'zayascope_recording.h', () => {
  let folder: string;
  const at = (name: string): string => join(folder, name);
  beforeAll(async () => {
    folder = mkdtempSync(join(tmpdir(), 'zayascope-header-'));
    mkdirSync(at('bin'));
    await compileProgram(join(root, 'dumps', 'llamacpp', 'record.cpp'), at('bin/record'));
    // The program is to take the same CPU library as the addon: the best of those beside it.
    for (const file of libllamaFiles('libggml-cpu-'))
      symlinkSync(file, at(join('bin', file.split('/').at(-1)!)));
  }, 120_000);
  afterAll(() => rmSync(folder, { recursive: true, force: true }));

  /** Runs the program. @returns the likeliest tokens and their logits that it printed. */
  function run(name: string, tokens: string): [id: number, logit: number][] {
    const { status, stdout, stderr } = runProgram(
      at('bin/record'),
      [MODEL, at(name), ...tokens.split(' ')],
      '',
      {
        beside: true,
      },
    );
    expect(status, stderr).toBe(0);
    return stdout
      .trim()
      .split('\n')
      .map((line) => line.split(' ').map(Number) as [number, number]);
  }

  async function replayed(name: string, tokens: string) {
    const printed = run(name, tokens);
    const out = at(`${name}-recording`);
    const imported = await importRecording(at(name), { out, model: MODEL });
    const { nodes } = await replayRecording({ recording: out, model: MODEL });
    expect(nodes).toHaveLength(imported.nodes);
    expect(nodes.filter(({ isSame, problem }) => !isSame || problem !== undefined)).toEqual([]);
    return { printed, imported, out };
  }

  it('replays a prompt in ubatches and its decode steps bit for bit, with the logits of the run', async () => {
    const { printed, imported, out } = await replayed('one', '1 2 3 4 5 6 7 8 9 10 . 11 . 12');
    expect(imported).toMatchObject({ status: 'complete', graphs: 4, sequences: 1, tokens: 12 });
    await using dump = await Dump.open(out);
    expect(dump.manifest.calls).toEqual([
      { step: 0, kind: 'prefill', rows: 10 },
      { step: 2, kind: 'decode', rows: 1 },
      { step: 3, kind: 'decode', rows: 1 },
    ]);
    expect(dump.manifest.sequences).toEqual([{ tokens: [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12] }]);
    expect(dump.manifest.backend).toMatchObject({ threads: 1 });
    for (const [k, step] of [1, 2, 3].entries()) {
      const { data } = await dump.read('result_output', { step });
      const logits = (data as Float32Array).slice(-256);
      expect([logits.indexOf(Math.max(...logits)), Math.max(...logits)]).toEqual([
        printed[k]![0],
        Math.fround(printed[k]![1]),
      ]);
    }
    const verdict = await locateRecording({ recording: out, model: MODEL });
    expect([verdict.found, verdict.faults]).toEqual([false, []]);
  }, 60_000);

  it('follows a server: slots side by side, emptied and used again, with calls between that nobody records', async () => {
    const { imported, out } = await replayed(
      'server',
      '1 2 3 4 5 6 7 8 9 10 , 4 5 6 . 11 , 7 ! 12 , 8 . 13 , 9 . ~0 3 4 , 9 ! ~1 5 . , 21 22 23',
    );
    await using dump = await Dump.open(out);
    expect(imported.sequences).toBe(4);
    // What a call changed that was not recorded is there again: states of another graph than the first.
    const graph = JSON.parse(readFileSync(join(out, 'graph.json'), 'utf8'));
    const states = graph.tensors.filter(({ state }: { state?: string }) => state === 'tap');
    expect(states.length).toBeGreaterThan(0);
    expect(dump.manifest.sequences.slice(0, 3)).toEqual([{ length: 13 }, { length: 7 }, { tokens: [3, 4] }]);
  }, 60_000);

  it('is a command, which says what it does not take', async () => {
    const out = at('by-command');
    run('command', '1 2 3');
    const imported = await runCommand(['import', at('command'), '--model', MODEL, '--out', out]);
    expect([imported.code, imported.stdout]).toEqual([
      0,
      expect.stringMatching(/^tokens +3 in 1 sequences$/m),
    ]);
    const again = await runCommand(['replay', out, '--model', MODEL]);
    expect([again.code, again.stdout]).toEqual([
      0,
      expect.stringMatching(/^as recorded: (\d+) of \1 the same bits$/m),
    ]);
    const mapped = await runCommand(['import', at('command'), '--map', 'llamacpp', '--out', at('no')]);
    expect(mapped.stderr).toContain('got --map');
    const old = await runCommand(['import', MODEL, '--model', MODEL, '--out', at('no')]);
    expect(old.stderr).toContain('a folder that zayascope_recording.h wrote with --model');
  }, 60_000);

  it('reads what a run that ended has left, and refuses what does not fit', async () => {
    run('cut', '1 2 3 . 4 . 5');
    const size = readFileSync(at('cut/tensors.bin')).byteLength;
    const lines = readFileSync(at('cut/index.jsonl'), 'utf8').split('\n').slice(0, -2);
    for (const part of [0.9, 0.6, 0.35]) {
      const name = `cut-${part}`;
      cpSync(at('cut'), at(name), { recursive: true });
      writeFileSync(
        join(at(name), 'index.jsonl'),
        lines.slice(0, Math.floor(part * lines.length)).join('\n'),
      );
      const imported = await importRecording(at(name), { out: at(`${name}-recording`), model: MODEL });
      expect(imported.status).toBe('partial');
      const { nodes, partial } = await replayRecording({ recording: at(`${name}-recording`), model: MODEL });
      expect([partial, nodes.filter(({ isSame }) => !isSame)]).toEqual([true, []]);
      expect(nodes.length).toBeGreaterThan(20);
    }
    const broken = async (change: (folder: string) => void): Promise<unknown> => {
      rmSync(at('broken'), { recursive: true, force: true });
      cpSync(at('cut'), at('broken'), { recursive: true });
      change(at('broken'));
      return importRecording(at('broken'), { out: at('refused'), overwrite: true });
    };
    const edit = (from: RegExp | string, to: string) => (broken: string) => {
      const file = join(broken, 'index.jsonl');
      writeFileSync(file, readFileSync(file, 'utf8').replace(from, to));
    };
    await expect(broken((name) => truncateSync(join(name, 'tensors.bin'), size - 4))).rejects.toThrow(
      /expected the value of MUL_MAT result_output, got none/,
    );
    await expect(broken(edit('"src": [0, 1]', '"src": [0, 99]'))).rejects.toThrow(
      'sources among the tensors before',
    );
    await expect(broken(edit('"type": "f32"', '"type": "f31"'))).rejects.toThrow('an element type');
    await expect(broken(edit('"tokens": [1, 2, 3]', '"tokens": [1, 2, 9]'))).rejects.toThrow(
      'rows that are tokens of the batch, got token 3 at row 2 of graph 0',
    );
    await expect(broken(edit(/("value": 2, "ne": \[64, )3/, '$12'))).rejects.toThrow('64 x 3 x 1 x 1');
  }, 60_000);
});
