/**
 * A folder imported without `--config`: what the config would have said comes from the other dump or the
 * model. Expected is what the same command says of the import with a config.
 */
import { writeFileSync } from 'node:fs';
import { beforeAll, describe, expect, it } from 'vitest';
import { ZAYA_LLAMACPP } from '../../../src/families/zaya-llamacpp.js';
import { Dump } from '../../../src/index.js';
import { runCommand } from '../../cli/run-command.js';
import {
  type PortName,
  portDump,
  portFolder,
  portModel,
  portNoise,
  portReference,
  portScratch,
} from './port-folders.js';

async function without(name: PortName): Promise<string> {
  const out = portScratch(`${name}-without`);
  const args = ['import', portFolder(name), '--map', 'llamacpp', '--out', out, '--overwrite', '--json'];
  const { code, stdout, stderr } = await runCommand(args);
  expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
  expect(JSON.parse(stdout).notes).toContainEqual(
    expect.stringMatching(/^No config \(--config\) was given: /),
  );
  return out;
}

/** The printed report, with the folders' names made the same. */
async function said(args: readonly string[], dump: string): Promise<{ code: number; text: string }> {
  const { code, stdout, stderr } = await runCommand(args);
  expect(stderr).toBe('');
  const name = dump.split('/').at(-1)!;
  return { code, text: stdout.replaceAll(dump, 'DUMP').replaceAll(name, 'DUMP') };
}

it('is remembered by the manifest', async () => {
  await using dump = await Dump.open(await without('before-f32'));
  expect(dump.manifest.producer.notes).toContainEqual(expect.stringContaining('--config'));
  expect(dump.manifest.model.config).toEqual({});
});

describe.each(['before-f32', 'before-f32-decode'] as const)('%s', (name) => {
  let dumps: [string, string];
  beforeAll(async () => {
    dumps = [await portDump(name), await without(name)];
  });

  it.each(['diff', 'locate', 'verify-logits'])('%s says what it does with one', async (command) => {
    const [right, own] = await Promise.all(dumps.map((dump) => said([command, portReference(), dump], dump)));
    expect(own).toEqual(right);
  });
});

it('locate --model names the skip class, under a noise floor too', async () => {
  const [model, dump] = [await portModel('before-q8_0'), await without('before-q8_0')];
  const noise = ['--noise', portNoise()];
  for (const more of [[], noise]) {
    const args = ['--model', model, '--threads', '1', '--json', ...more];
    const { code, stdout } = await runCommand(['locate', portReference(), dump, ...args]);
    expect(code).toBe(1);
    const { kinds, unfit } = JSON.parse(stdout);
    expect(unfit).toEqual([]);
    const skip = kinds.find(({ kind }: { kind: string }) => kind === '.mlp.gate:expert');
    expect(skip.share).toBeCloseTo(0.694, 2);
  }
});

it('report and its noise floor take it', async () => {
  const [right, own] = [await portDump('before-f32'), await without('before-f32')];
  const page = async (dump: string) => {
    const out = portScratch('config.html');
    const args = [
      'report',
      portReference(),
      dump,
      '--noise-floor',
      portNoise(),
      '--out',
      out,
      '--overwrite',
      '--json',
    ];
    const { code, stdout, stderr } = await runCommand(args);
    expect(stderr).toBe('');
    const { sentence, taps, tensorTaps } = JSON.parse(stdout);
    return { code, sentence, taps, tensorTaps };
  };
  expect(await page(own)).toEqual(await page(right));
});

it('two imports compare, with and without a config, in any order', async () => {
  const [right, own] = [await portDump('before-f32'), await without('before-f32')];
  for (const [first, second] of [
    [right, own],
    [own, right],
    [own, own],
  ] as const) {
    const { code, stdout } = await runCommand(['diff', first, second]);
    expect(code).toBe(0);
    expect(stdout).toMatch(/^PASS .*; 332 taps compared, 332 identical, 0 unpaired/m);
  }
});

describe('a value whose shape cannot be put right', () => {
  const TAP = 'layers.0.mlp.gate.router_mlp:act1';
  let own: string;
  beforeAll(async () => {
    const file = portScratch('half.json');
    // Half of the entries of a GELU, which the map does not call a part.
    const half = { op: 'gather', axis: -1, order: [...Array(16).keys()] };
    const rules = ZAYA_LLAMACPP.rules.map((rule) =>
      rule.from.startsWith('router_mlp0') ? { ...rule, layout: [half] } : rule,
    );
    writeFileSync(file, JSON.stringify({ ...ZAYA_LLAMACPP, name: 'half', rules }));
    own = portScratch('half-dump');
    const args = ['import', portFolder('after-f32-cache-f32'), '--map', file, '--out', own];
    expect(await runCommand(args)).toMatchObject({ code: 0, stderr: '' });
  });

  const NOTE =
    /note: 2 values have no partner of the same shape, first layers\.0\.mlp\.gate\.router_mlp:act1, and \S+half-dump was imported without the model's config: nothing is said of them\. Import again with --config config\.json\./;

  it('is told by diff and report', async () => {
    const { code, stdout } = await runCommand(['diff', portReference(), own]);
    expect(code).toBe(1);
    expect(stdout).toMatch(NOTE);
    expect(stdout).toMatch(/^FAIL .* 2 unpaired/m);
  });

  it('is told by locate, which judges the others and is not silent', async () => {
    // All other values are those of the import with a config.
    const alone = await runCommand(['locate', await portDump('after-f32-cache-f32'), own]);
    expect(alone.code).toBe(1);
    expect(alone.stdout.split('\n')[1]).toMatch(
      new RegExp(
        `^NOT JUDGED {2}2 values have no partner that fits, first ${TAP}, which [^:]*: ops are judged over the others, and nothing passes`,
      ),
    );
    expect(alone.stdout).toMatch(NOTE);
    const args = ['locate', portReference(), own, '--model', await portModel('after-f32-cache-f32')];
    // The op behind it is judged over the values that both hold.
    const faults = JSON.parse((await runCommand([...args, '--json', '--threads', '1'])).stdout);
    expect(faults.unfit).toEqual([TAP, TAP.replace('0', '1')]);
    const kinds = faults.kinds.map(({ kind }: { kind: string }) => kind);
    expect(kinds).toContain('.mlp.gate.router_mlp:act2');
    expect(kinds).not.toContain('.mlp.gate.router_mlp:act1');
  });
});
