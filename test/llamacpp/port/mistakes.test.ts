/** What a user of a port gets wrong: each is told in one sentence, before any op is accused. */
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { Dump, type LocateReport } from '../../../src/index.js';
import { runCommand } from '../../cli/run-command.js';
import {
  CUT_FOLDERS,
  PORT_IDS,
  portDump,
  portFolder,
  portModel,
  portReference,
  portScratch,
  TINY_MODEL,
  WHOLE_FOLDERS,
} from './port-folders.js';

const CONFIG = join(TINY_MODEL, 'config.json');

const reports = new Map<string, Promise<LocateReport>>();
/** The report of a dump and a model, made once. */
function located(dump: string, model: string): Promise<LocateReport> {
  const key = `${dump} ${model}`;
  const known = reports.get(key) ?? locate(dump, model);
  reports.set(key, known);
  return known;
}

async function locate(dump: string, model: string): Promise<LocateReport> {
  const args = ['locate', portReference(), dump, '--model', model, '--threads', '1', '--json'];
  const { code, stdout, stderr } = await runCommand(args);
  expect({ code, stderr }).toEqual({ code: 1, stderr: '' });
  return JSON.parse(stdout);
}

async function converted(type: string): Promise<string> {
  const out = portScratch(`other-${type}.gguf`);
  const { code } = await runCommand(['convert', TINY_MODEL, '--type', type, '--out', out, '--overwrite']);
  expect(code).toBe(0);
  return out;
}

describe('a GGUF file of another type than the one that ran', () => {
  it.each([
    ['before-q8_0', 'f32', 'q8_0'],
    ['before-bf16', 'f16', 'bf16'],
    ['before-f32', 'bf16', 'f32'],
  ] as const)('%s with the file in %s: the type that fits is %s', async (run, given, fits) => {
    const dump = await portDump(run);
    const report = await located(dump, await converted(given));
    expect(report.otherFile).toMatch(
      new RegExp(
        `was not computed with other-${given}.gguf as it stores its weights \\(${given.toUpperCase()}\\)`,
      ),
    );
    // 7 products in each of 7 blocks of a whole folder, less in one that is cut.
    expect(report.otherFile).toMatch(/the errors of (\d+) of \1 products go away/);
    expect(report.otherFile).toContain(`The type that fits is ${fits}: pass the GGUF that ran`);
    // What remains is what the file that ran leaves.
    const right = await located(dump, await portModel(run));
    expect(right.otherFile).toBeNull();
    expect(report.kinds.map(({ kind }) => kind)).toEqual(right.kinds.map(({ kind }) => kind));
  });

  it('says first that it is another file', async () => {
    const args = [
      'locate',
      portReference(),
      await portDump('before-q8_0'),
      '--model',
      await converted('f32'),
    ];
    const { stdout } = await runCommand([...args, '--threads', '1']);
    expect(stdout.split('\n')[1]).toMatch(/^WRONG FILE {2}before-q8_0-dump was not computed with /);
  });

  // From rounded weights the others cannot be made: no op is judged.
  it.each([
    ['before-f32', 'q8_0', ', and the rows of the embedding,'],
    ['before-bf16', 'q4_0', ', and the rows of the embedding,'],
    // The embedding of both is Q8_0, and so is a part of the products.
    ['before-q8_0', 'q4_k_m', ''],
  ] as const)('%s with the file in %s: it is not the one that ran', async (run, given, embedding) => {
    const { mismatch, kinds, firstFault } = await located(await portDump(run), await converted(given));
    expect({ kind: mismatch?.kind, kinds, firstFault }).toEqual({
      kind: 'weights',
      kinds: [],
      firstFault: null,
    });
    expect(mismatch!.sentence).toContain(`products${embedding} are others on the same inputs`);
    expect(mismatch!.sentence).toContain('It is not the GGUF that ran');
  });
});

describe('a map that was forgotten', () => {
  const HINT = /Pass --map llamacpp, which knows 3\d\d of them/;

  it('is named by import', async () => {
    const args = ['import', portFolder('before-f32'), '--out', portScratch('no-map')];
    const { code, stderr } = await runCommand(args);
    expect(code).toBe(2);
    expect(stderr).toMatch(HINT);
  });

  it.each([
    ['--keep-unmapped', HINT],
    ['--drop-unmapped', /Import again with --map llamacpp, which knows 3\d\d of them/],
  ])('is named by all that compares, of a dump made with %s', async (option, hint) => {
    const out = portScratch(`no-map${option}`);
    await runCommand(['import', portFolder('before-f32'), option, '--out', out]);
    const diff = await runCommand(['diff', portReference(), out]);
    // One tap has the same name by chance.
    expect(diff.code).toBe(1);
    expect(diff.stdout).toMatch(/^FAIL {2}.*; 1 taps compared/m);
    expect(diff.stdout.split('\n')[2]).toMatch(
      /^note: The names do not pair: of 444 values .* 1 has a partner/,
    );
    expect(diff.stdout).toMatch(hint);
    const report = await runCommand([
      'report',
      portReference(),
      out,
      '--out',
      portScratch('no-map.html'),
      '--overwrite',
    ]);
    expect(report.stdout).toMatch(/outcome {2}FAIL {2}The names do not pair: /);
    for (const model of [[], ['--model', await portModel('before-f32')]]) {
      const { code, stdout, stderr } = await runCommand(['locate', portReference(), out, ...model]);
      expect({ code, stdout }).toEqual({ code: 2, stdout: '' });
      expect(stderr).toMatch(hint);
    }
  });

  it('is as far from the right one as the documentation says', async () => {
    const names = async (dir: string) => {
      await using dump = await Dump.open(dir);
      return dump.taps.map(({ name }) => name);
    };
    const right = await names(portReference());
    const share = (own: readonly string[], of: readonly string[] = right) =>
      own.filter((name) => of.includes(name)).length / Math.min(own.length, of.length);
    for (const name of [...WHOLE_FOLDERS, ...CUT_FOLDERS].filter((each) => each !== 'before-f32-last')) {
      const own = await names(await portDump(name));
      // What is cut lacks blocks.
      const least = (CUT_FOLDERS as readonly string[]).includes(name) ? 0.97 : 0.975;
      expect([name, share(own) >= least]).toEqual([name, true]);
    }
    for (const map of ['zaya', 'vllm']) {
      const out = portScratch(`map-${map}`);
      const args = ['import', portFolder('before-f32'), '--map', map, '--keep-unmapped', '--out', out];
      expect((await runCommand(args)).code).toBe(0);
      expect([map, share(await names(out))]).toEqual([map, 1 / right.length]);
    }
    const blocks = ['import', portFolder('before-f32'), '--map', 'llamacpp-blocks', '--keep-unmapped'];
    const { code, stderr } = await runCommand([...blocks, '--out', portScratch('map-blocks')]);
    expect([code, stderr]).toEqual([2, expect.stringContaining('expected shape [24, ...]')]);
  });

  it('does not fail a map of a few values where --taps names them', async () => {
    const [map, out] = [portScratch('few.json'), portScratch('few')];
    writeFileSync(
      map,
      JSON.stringify({ name: 'few', rules: [{ from: 'result_output', tap: 'lm_head', prefix: true }] }),
    );
    await runCommand(['import', portFolder('before-f32'), '--map', map, '--drop-unmapped', '--out', out]);
    const args = ['diff', portReference(), out, '--fail-above', '1'];
    expect((await runCommand(args)).stdout).toContain('The names do not pair');
    const narrow = await runCommand([...args, '--taps', 'lm_head']);
    expect([narrow.code, narrow.stdout]).toEqual([0, expect.stringContaining('1 taps compared')]);
  });

  it('is not blamed where a selection holds other blocks', async () => {
    const [a, b] = [portScratch('block-0'), portScratch('block-1')];
    for (const [out, taps] of [
      [a, 'layers.0.**'],
      [b, 'layers.1.**'],
    ] as const)
      await runCommand([
        'capture',
        '--model',
        TINY_MODEL,
        '--tokens',
        '257,91',
        '--taps',
        taps,
        '--out',
        out,
      ]);
    const { code, stdout } = await runCommand(['diff', a, b]);
    expect(code).toBe(1);
    expect(stdout).not.toContain('names');
  });
});

it('passes nothing where tokens have no partner, and says how many', async () => {
  const run = async (name: string, count: number, ...args: string[]) => {
    const [ids, out] = [PORT_IDS.slice(0, count).join(), portScratch(name)];
    const options = ['--tokens', ids, '--threads', '1', '--overwrite', ...args];
    await runCommand(['capture', '--model', TINY_MODEL, ...options, '--out', out]);
    const { code, stdout } = await runCommand(['locate', portReference(), out, '--json']);
    const { unjudged, notes, found } = JSON.parse(stdout);
    return { code, unjudged, notes, found };
  };
  const words =
    '12 of 24 tokens of reference have no partner (same sequence, position and id) in the other dump: only 12 are compared.';
  const half = await run('half', 12);
  expect(half).toMatchObject({ code: 1, found: true, unjudged: expect.stringContaining(words) });
  expect(half.notes).not.toContainEqual(words);
  // What was not asked for does not lack.
  const asked = await run('asked', 24, '--positions', '0:12');
  expect(asked).toMatchObject({ code: 0, found: false, unjudged: null });
  expect(asked.notes).toContainEqual(expect.stringContaining('have no partner'));
});

describe('other tokens', () => {
  const captured = async (name: string, sequences: readonly (readonly number[])[]): Promise<string> => {
    const [out, tokens] = [portScratch(name), portScratch(`${name}.json`)];
    writeFileSync(tokens, JSON.stringify(sequences));
    const args = ['capture', '--model', TINY_MODEL, '--tokens-file', tokens, '--out', out, '--threads', '1'];
    expect((await runCommand(args)).code).toBe(0);
    return out;
  };

  it('are told of sequences in another order, and which is which', async () => {
    const [first, second] = [PORT_IDS.slice(0, 12), PORT_IDS.slice(12)];
    const [reference, tested] = [
      await captured('in-order', [first, second, [1, 2]]),
      await captured('exchanged', [second, first, [1, 2]]),
    ];
    const words =
      'exchanged has the sequences of in-order in another order: its sequence 0 is sequence 1 there. Run both in the same order, for rows pair by the number of the sequence.';
    const located = await runCommand(['locate', reference, tested]);
    expect([located.code, located.stdout]).toEqual([
      1,
      expect.stringContaining(`DIFFERENT TOKENS  ${words}`),
    ]);
    expect((await runCommand(['diff', reference, tested])).stdout).toContain(`note: ${words}`);
    expect((await runCommand(['diff', reference, reference])).stdout).not.toContain('another order');
  });

  it('are a verdict of locate also where none is the same', async () => {
    const other = await captured('none-the-same', [PORT_IDS.map((id) => (id + 1) % 259)]);
    for (const model of [[], ['--model', TINY_MODEL]]) {
      const { code, stdout } = await runCommand(['locate', portReference(), other, ...model]);
      expect([code, stdout]).toEqual([
        1,
        expect.stringMatching(
          /DIFFERENT TOKENS {2}none-the-same ran another prompt than reference: 24 of 24 tokens differ/,
        ),
      ]);
    }
  });
});

describe('a model of another shape', () => {
  const words =
    /got one of another shape: embed_tokens has rows of \[128\] in the dump, the model makes \[256\]/;
  it('is refused by all that recomputes, before anything is run', async () => {
    const model = portScratch('other-shape.gguf');
    await runCommand(['synth', '--size', 'tiny', '--type', 'f32', '--out', model]);
    const dump = await portDump('before-f32');
    const journey = portScratch('other-shape');
    const commands = [
      ['locate', portReference(), dump, '--model', model],
      ['locate', portReference(), '--policy', 'llamacpp', '--model', model],
      ['repro', dump, '--model', model, '--op', 'norm', '--out', portScratch('other-repro')],
      ['port', portFolder('before-f32'), '--model', model, '--reference', TINY_MODEL, '--out', journey],
    ];
    for (const command of commands) {
      const { code, stdout, stderr } = await runCommand(command);
      expect([command[0], code]).toEqual([command[0], 2]);
      expect(stderr).toMatch(words);
      expect(stdout).not.toContain('dump.py');
    }
  });
});

describe('a path that holds something else', () => {
  it('is named for what it is', async () => {
    const [empty, file] = [portScratch('empty'), portScratch('a-file')];
    mkdirSync(empty);
    writeFileSync(file, 'x');
    const [raw, dump, gguf] = [
      portFolder('before-f32'),
      await portDump('before-f32'),
      await portModel('before-f32'),
    ];
    const reference = portReference();
    const port = ['port', raw, '--model', gguf];
    const cases: [args: string[], words: string][] = [
      [['diff', reference, raw], 'the folder of a llama.cpp port: zayascope import makes a dump of it'],
      [['locate', reference, raw], 'the folder of a llama.cpp port: zayascope import makes a dump of it'],
      [['diff', reference, TINY_MODEL], 'a model folder: zayascope capture'],
      [['import', empty, '--out', portScratch('x')], 'got an empty folder'],
      [['import', dump, '--out', portScratch('x')], 'got a dump'],
      [['import', raw, '--map', 'llamacpp', '--out', file], 'got a file in place of a folder'],
      [
        ['port', dump, '--model', gguf, '--reference', reference],
        'the folder that the port wrote (with index.jsonl), got a dump',
      ],
      [[...port, '--reference', gguf], 'got a file'],
      [[...port, '--reference', raw], 'got the folder of a llama.cpp port'],
      [[...port, '--reference', reference, '--out', file], 'expected a folder as --out, got a file'],
      [['port', raw, '--model', empty, '--reference', reference], 'config.json or exactly one .gguf file'],
    ];
    for (const [args, words] of cases) {
      const { code, stderr } = await runCommand(args);
      expect({ args, code, stderr }).toEqual({ args, code: 2, stderr: expect.stringContaining(words) });
      expect(stderr).not.toMatch(/E[A-Z]{4,}:/);
    }
  });

  it('names the lengths of sequences to pass, where the convolution shows them', async () => {
    const args = ['import', portFolder('before-f32-two-sequences'), '--map', 'llamacpp', '--config', CONFIG];
    const { code, stderr } = await runCommand([...args, '--out', portScratch('x')]);
    expect(code).toBe(2);
    expect(stderr).toContain('which is 2 sequences of 12. Pass --sequences 12,12');
  });
});

describe('what is said of a run', () => {
  it('names the skip class, which is no expert', async () => {
    const { kinds } = await located(await portDump('before-f32'), await portModel('before-f32'));
    const choice = kinds.find(({ kind }) => kind === '.mlp.gate:expert')!;
    expect(choice.sentence).toContain('Only tokens of the skip class (8, which runs no expert) are wrong.');
  });

  it('recomputes the capture of a GGUF file with the types that it records, and calls it no other model', async () => {
    const [file, out, own] = [
      await portModel('before-q8_0'),
      portScratch('capture'),
      portScratch('capture-own'),
    ];
    const run = ['--tokens', PORT_IDS.join(), '--policy', 'bf16-weights', '--threads', '1'];
    await runCommand(['capture', '--model', file, ...run, '--out', out]);
    await runCommand(['capture', '--model', TINY_MODEL, ...run, '--out', own]);
    const { code, stdout } = await runCommand([
      'locate',
      portReference(),
      out,
      '--model',
      file,
      '--threads',
      '1',
    ]);
    expect(code).toBe(0);
    expect(stdout).toContain('SILENT');
    expect(stdout).toContain('Every op is right with the weights as stored in the file');
    const diff = await runCommand(['diff', own, out]);
    expect(diff.stdout).toMatch(/^NOT JUDGED {2}no limit given/m);
    expect(diff.stdout).toContain(
      'are files of other types: that they hold the same weights is taken on trust',
    );
    expect(diff.stdout).not.toContain('DIFFERENT');
  });

  it('says of whom a repro is', async () => {
    const [out, file] = [portScratch('repro-words'), await portModel('before-f32')];
    const args = [
      'repro',
      await portDump('before-f32'),
      '--model',
      file,
      '--op',
      'layers.0.self_attn.o_proj',
    ];
    const { stdout } = await runCommand([...args, '--out', out]);
    expect(stdout).toMatch(/^from +llama\.cpp \(imported from before-f32\)$/m);
    expect(stdout).toMatch(/^weights +tiny-f32\.gguf \(the dump does not say which weights ran\)$/m);
  });

  it('gives each op a folder of its own to be reproduced in', async () => {
    const { kinds } = await located(await portDump('before-f32'), await portModel('before-f32'));
    const folders = kinds.map(({ next }) => / --out (\S+)$/.exec(next)?.[1]);
    expect(folders).toContain('repro-layers.1.mlp.gate-expert');
    expect(new Set(folders).size).toBe(kinds.length);
  });
});
