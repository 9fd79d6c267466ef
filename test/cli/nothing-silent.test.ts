/**
 * Every command that judges or runs, over inputs of which nothing can be said: none may end in a word of
 * praise alone. What the inputs hold is counted by pyarrow and numpy.
 */
import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { pythonJson, root } from '../reference/python.js';
import { type CommandResult, runCommand } from './run-command.js';
import { type Replace, rewriteDump } from './special-dumps.js';

const TINY = join(root, 'dumps', 'tiny', 'model');
const TOKENS = ['--tokens', '91,87,101'];
/** One block, and what is before and after the blocks. */
const TAPS = '{embed_tokens,input_affine,norm,lm_head,layers.{2,3},layers.3.**}';
const VICTIM = 'layers.3.self_attn.o_proj';
const { NaN: NAN, POSITIVE_INFINITY: INF } = Number;

/** What becomes of every F32 tap of both sides (b: of the tested side). */
const DUMPS: Readonly<Record<string, { a: Replace; b: Replace; says: RegExp }>> = {
  'all NaN': { a: fill(NAN), b: fill(NAN), says: /NOT FINITE.*NaN|NaN or infinity arises/ },
  'one NaN': { a: one(NAN), b: one(NAN), says: /NOT FINITE.*1 NaN|NaN or infinity arises|not finite/ },
  'one NaN of the tested side': { a: () => {}, b: one(NAN), says: /NOT FINITE|NaN or infinity arises/ },
  'one infinity, the same on both sides': {
    a: one(INF),
    b: one(INF),
    says: /NOT FINITE.*1 infinit|NaN or infinity arises|not finite/,
  },
  'infinities that hide an error': {
    a: one(INF),
    b: (tap, values) => {
      one(INF)(tap, values);
      if (tap.name === VICTIM) values[1]! += 0.5;
    },
    says: /NOT FINITE|NaN or infinity arises/,
  },
  'all zero': {
    a: fill(0),
    b: fill(0),
    says: /ALL ZERO: every value of all \d+ taps|the logits of the reference are all equal/,
  },
};

function fill(value: number): Replace {
  return (_tap, values) => {
    values.fill(value);
  };
}

function one(value: number): Replace {
  return ({ name }, values) => {
    if (name === VICTIM || name === 'lm_head') values[name === VICTIM ? 0 : values.length - 5] = value;
  };
}

/** By the counts of numpy, for the names of {@link DUMPS}. */
interface Counted {
  nan: number;
  inf: number;
  zeroTaps: number;
  floatTaps: number;
}

const COUNT = `
import glob, json, sys
import numpy as np, pyarrow as pa
def floats(column):
    while not pa.types.is_float32(column.type):
        if isinstance(column.type, pa.BaseExtensionType): column = column.storage
        elif pa.types.is_list(column.type) or pa.types.is_large_list(column.type) or pa.types.is_fixed_size_list(column.type): column = column.flatten()
        else: return None
    return np.asarray(column.drop_null())
def count(folder):
    nan = inf = zero = taps = 0
    for file in glob.glob(folder + '/*.arrow'):
        if file.endswith('stats.arrow'): continue
        table = pa.ipc.open_file(file).read_all()
        for name in table.schema.names[4:]:
            values = floats(pa.concat_arrays(table.column(name).chunks))
            if values is None: continue
            taps += 1
            nan += int(np.isnan(values).sum())
            inf += int(np.isinf(values).sum())
            zero += int(not values.any())
    return {'nan': nan, 'inf': inf, 'zeroTaps': zero, 'floatTaps': taps}
print(json.dumps([count(folder) for folder in json.load(sys.stdin)]))`;

let folder: string;
const counted = new Map<string, { a: Counted; b: Counted }>();
const at = (...names: string[]): string => join(folder, ...names);
const side = (name: string, which: 'a' | 'b', tier = 'full') => at(`${name} ${tier} ${which}`);

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'zayascope-silent-'));
  const run = await runCommand(['capture', '--model', TINY, ...TOKENS, '--taps', TAPS, '--out', at('run')]);
  expect(run.code).toBe(0);
  const folders: string[] = [];
  for (const [name, { a, b }] of Object.entries(DUMPS)) {
    for (const tier of ['full', 'stats'] as const) {
      await rewriteDump(at('run'), side(name, 'a', tier), a, tier);
      await rewriteDump(at('run'), side(name, 'b', tier), b, tier);
    }
    folders.push(side(name, 'a'), side(name, 'b'));
  }
  const counts = pythonJson<Counted[]>(['-c', COUNT], JSON.stringify(folders));
  for (const [k, name] of Object.keys(DUMPS).entries())
    counted.set(name, { a: counts[2 * k]!, b: counts[2 * k + 1]! });
}, 120_000);

afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** No word of praise without the word that is due. */
function expectWord({ code, stdout, stderr }: CommandResult, what: string, says: RegExp): void {
  if (process.env.ZAYASCOPE_SHOW !== undefined)
    writeFileSync(
      process.env.ZAYASCOPE_SHOW,
      `== ${what}: ${code}\n${stdout.slice(0, 900)}${stderr.slice(0, 400)}\n`,
      {
        flag: 'a',
      },
    );
  expect(`${stdout}\n${stderr}`, what).toMatch(says);
}

const PRAISE = /\bPASS\b|SILENT|every compared value is identical|All \d+ taps are identical|\bperfect\b/;

describe.each(Object.keys(DUMPS))('two dumps with %s', (name) => {
  const { says } = DUMPS[name]!;
  const isZero = name === 'all zero';
  it.each([
    ['diff', 'full', []],
    ['diff', 'full', ['--fail-above', '1']],
    ['diff', 'stats', []],
    ['diff', 'stats', ['--fail-above', '1']],
    ['verify-logits', 'full', []],
    ['report', 'full', ['--out', 'page.html']],
    ['locate', 'full', []],
    ['locate', 'full', ['--model', TINY]],
  ] as const)('%s of tier %s says so (%j)', async (command, tier, more) => {
    const args = more.map((arg) => (arg === 'page.html' ? at(arg) : arg));
    const overwrite: string[] = command === 'report' ? ['--overwrite'] : [];
    const dumps = [side(name, 'a', tier), side(name, 'b', tier)];
    const result = await runCommand([command, ...dumps, ...args, ...overwrite]);
    expectWord(result, `${command} ${tier} ${more.join(' ')}, ${name}`, says);
    if (!isZero) expect([result.code, result.stdout]).toEqual([1, expect.not.stringMatching(PRAISE)]);
  });

  it('has as many as numpy counts', async () => {
    const { code, stdout } = await runCommand(['diff', side(name, 'a'), side(name, 'b'), '--json']);
    const { a, b } = counted.get(name)!;
    const report = JSON.parse(stdout);
    const floats = report.tapReports.filter(({ kind }: { kind: string }) => kind === 'float');
    const sum = (key: 'nan' | 'inf', which: 'reference' | 'tested'): number =>
      floats.reduce(
        (n: number, { metrics }: { metrics: Record<string, Record<string, number>> }) =>
          n + metrics[key]![which]!,
        0,
      );
    expect([sum('nan', 'reference'), sum('nan', 'tested')]).toEqual([a.nan, b.nan]);
    expect([sum('inf', 'reference'), sum('inf', 'tested')]).toEqual([a.inf, b.inf]);
    if (isZero) expect([a.zeroTaps, code]).toEqual([a.floatTaps, 0]);
    expect(report.notes.join()).toContain(isZero ? `ALL ZERO: every value of all ${a.floatTaps} taps` : '');
  });

  it('is said by import of what export wrote of it', async () => {
    const file = at(`${name}.safetensors`);
    expect((await runCommand(['export', side(name, 'b'), '--out', file])).code).toBe(0);
    const out = at(`${name} imported`);
    const result = await runCommand(['import', file, ...TOKENS, '--out', out]);
    const { nan, inf, zeroTaps, floatTaps } = counted.get(name)!.b;
    const sentence = isZero
      ? `ALL ZERO: every value of all ${zeroTaps} taps of floats`
      : `NOT FINITE: ${nan} NaN and ${inf} infinite values`;
    expectWord(result, `import, ${name}`, new RegExp(sentence));
    expect(floatTaps).toBeGreaterThan(zeroTaps - 1);
    expect(result.code).toBe(0);
  });
});

/** Writes the tiny model with all of its weights zero (balancing biases too). */
function zeroModel(): string {
  const model = at('zero-model');
  cpSync(TINY, model, { recursive: true });
  const file = join(model, 'model.safetensors');
  const bytes = readFileSync(file);
  bytes.fill(0, 8 + Number(bytes.readBigUInt64LE()));
  writeFileSync(file, bytes);
  return model;
}

describe('a model of zeros', () => {
  it('is told by what runs or compares it', async () => {
    const model = zeroModel();
    for (const [args, says] of [
      [['capture', '--model', model, ...TOKENS, '--out', at('zero-run')], /^note +all logits are equal/m],
      [['evaluate', '--model', model, ...TOKENS], /^note +all logits are equal: no token/m],
      [['diff-weights', model, model], /ALL ZERO: every weight of all \d+ tensors/],
    ] as [string[], RegExp][]) {
      const result = await runCommand(args);
      expectWord(result, `${args[0]} of a model of zeros`, says);
    }
  });
});

describe('nothing at all', () => {
  const none: Readonly<Record<string, string>> = {
    'an empty file': '',
    'an empty list': '[]',
    'an empty list of tokens': '{"tokens": []}',
    'no sequences': '{"sequences": []}',
    'an empty sequence': '{"sequences": [[5], []]}',
    'empty input_ids': '{"input_ids": [[]]}',
    blanks: ' \n',
    'an id beyond 32 bits': '[5, 4294967301]',
    NaN: '[5, NaN]',
  };

  it.each([
    ['capture', ['--out', 'out']],
    ['generate', []],
    ['evaluate', []],
    ['step', []],
    ['compare', ['--backends', 'cpu,lavapipe', '--out', 'out']],
    ['bisect', ['--good', 'f32', '--bad', 'llamacpp']],
    ['attribute', ['--good', 'f32', '--bad', 'llamacpp']],
  ] as const)('for token ids is refused by %s', async (command, more) => {
    const args = more.map((arg) => (arg === 'out' ? at('never') : arg));
    for (const [what, text] of Object.entries(none)) {
      const file = at('ids.json');
      writeFileSync(file, text);
      const result = await runCommand([command, '--model', TINY, '--tokens-file', file, ...args]);
      expectWord(result, `${command}, ${what}`, /BAD_ARGUMENT: readTokens: expected .* got/);
      expect([result.code, result.stdout], what).toEqual([2, '']);
    }
    const given = await runCommand([command, '--model', TINY, '--tokens', '', ...args]);
    expectWord(given, `${command}, no ids`, /expected at least one token id, got none/);
    expect([given.code, given.stdout]).toEqual([2, '']);
  });

  it('is made of token ids that 32 bits cannot hold, whose value is named', async () => {
    const WIDE = `
import sys, numpy as np
from safetensors.numpy import save_file
ids = np.array([5, 2**33 + 1], np.int64)
save_file({'lm_head': np.ones((2, 7), np.float32), 'input_ids': ids}, sys.argv[1] + '/wide.safetensors')
np.savez(sys.argv[1] + '/wide.npz', lm_head=np.ones((2, 7), np.float32), tokens=ids)
print(int(ids[1]))`;
    const id = pythonJson<number>(['-c', WIDE, folder]);
    for (const name of ['wide.safetensors', 'wide.npz']) {
      const result = await runCommand(['verify-logits', at(name), at(name)]);
      expectWord(
        result,
        `verify-logits ${name}`,
        new RegExp(`token ids that fit 32 bits, got ${id} at index 1`),
      );
      expect(result.code).toBe(2);
    }
    writeFileSync(at('wide.json'), `[5, ${id}]`);
    const result = await runCommand([
      'capture',
      '--model',
      TINY,
      '--tokens-file',
      at('wide.json'),
      '--out',
      at('no'),
    ]);
    expectWord(result, 'capture', new RegExp(`integers from 0 to 2147483647\\), got ${id} at position 1`));
  });

  it('in arrays is refused by import and verify-logits', async () => {
    const EMPTY = `
import sys, numpy as np, torch
from safetensors.numpy import save_file
out = sys.argv[1]
np.save(out + '/empty.npy', np.zeros((0, 16), np.float32))
np.savez(out + '/empty.npz', lm_head=np.zeros((3, 0), np.float32))
save_file({'lm_head': np.zeros((0, 7), np.float32)}, out + '/empty.safetensors')
torch.save({'lm_head': torch.zeros(0, 7)}, out + '/empty.pt')
open(out + '/empty.bin', 'w'); open(out + '/empty.txt', 'w')
print('null')`;
    mkdirSync(at('arrays'));
    pythonJson(['-c', EMPTY, at('arrays')]);
    for (const name of ['npy', 'npz', 'safetensors', 'pt', 'bin', 'txt']) {
      const file = at('arrays', `empty.${name}`);
      for (const args of [
        ['import', file, '--keep-unmapped', '--out', at('never')],
        ['verify-logits', file, file],
        ['verify-logits', at('run'), file],
      ]) {
        const result = await runCommand(args);
        expectWord(
          result,
          args.join(' '),
          /expected .*(elements|logits|values|content|token axis|bytes).*got/s,
        );
        expect([result.code, result.stdout], args.join(' ')).toEqual([2, '']);
      }
    }
  });
});

describe('what was read in silence', () => {
  const file = (name: string, text: string): string => {
    writeFileSync(at(name), text);
    return at(name);
  };
  it.each<[string, () => string[], RegExp]>([
    [
      'an id that is missing between two commas',
      () => ['capture', '--model', TINY, '--tokens-file', file('gap.txt', '1,,2'), '--out', at('never')],
      /a comma without an id before it/,
    ],
    [
      'a key twice in a policy',
      () => [
        ...['capture', '--model', TINY, ...TOKENS, '--out', at('never')],
        ...['--policy', file('twice.json', '{"name":"a","name":"b","rules":[]}')],
      ],
      /the key "name" twice/,
    ],
    [
      'a logit that no float holds',
      () => ['verify-logits', file('huge.txt', '0: 1e999\n1: 2\n'), at('huge.txt')],
      /a logit that F32 can hold in line 1, got 1e999/,
    ],
  ])('%s is refused', async (_, args, message) => {
    const { code, stdout, stderr } = await runCommand(args());
    expect([code, stdout, stderr]).toEqual([2, '', expect.stringMatching(message)]);
  });

  it('a value whose first axis is not the tokens is named', async () => {
    pythonJson([
      '-c',
      `import numpy as np; np.savez(${JSON.stringify(at('two.npz'))}, a=np.ones((3, 4), 'f4'), b=np.ones((5, 2), 'f4')); print(0)`,
    ]);
    const { code, stdout } = await runCommand([
      ...['import', at('two.npz'), '--tokens', '1,2,3', '--keep-unmapped', '--out', at('two')],
    ]);
    expect([code, stdout]).toEqual([
      0,
      expect.stringContaining(
        'Taken as one value of the whole step, since its first axis is not one of tokens: b.',
      ),
    ]);
  });

  it("a recording's graph that cannot be read is named by inspect", async () => {
    const model = join(root, 'dumps', 'tiny', 'lfm2.gguf');
    expect((await runCommand(['record', model, '--tokens', '1,2', '--out', at('recording')])).code).toBe(0);
    expect((await runCommand(['inspect', at('recording')])).code).toBe(0);
    const graph = readFileSync(at('recording', 'graph.json'), 'utf8');
    writeFileSync(at('recording', 'graph.json'), graph.slice(0, 500));
    const { code, stdout } = await runCommand(['inspect', at('recording')]);
    expect([code, stdout]).toEqual([1, expect.stringMatching(/^graph\.json .*openGraph: expected JSON/m)]);
  });
});
