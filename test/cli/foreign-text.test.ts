/** Text of others that holds escape sequences: no command lets it act on the terminal. */
import { cpSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { diffDumps } from '../../src/diff/diff.js';
import { formatReport } from '../../src/diff/format/report.js';
import { Dump } from '../../src/dump/reader.js';
import { printable, printableLine } from '../../src/printable.js';
import { addTo, dumpWith } from '../diff/two-dumps.js';
import { description } from '../dump/dump-fixture.js';
import { runCommand } from './run-command.js';

const tiny = join(import.meta.dirname, '..', '..', 'dumps', 'tiny');
/**
 * Clears the screen and writes a green PASS; then the same with C1 controls, a line of its own, the other
 * direction, a link.
 */
const EVIL = '\u001b[2J\u001b[32mPASS\u001b[0m\u009b31mX\u202egnp.exe\u2066\u2028\u0007\u007f';
const TOKENS = ['--tokens', '91,87,101'];
// biome-ignore lint/suspicious/noControlCharactersInRegex: they are what this is about
const CONTROLS = /[\u0000-\u0009\u000b-\u001f\u007f-\u009f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]/;
// biome-ignore lint/suspicious/noControlCharactersInRegex: an escape sequence
const OURS = /\u001b\[(?:32|31|1|2|0)m|\r\u001b\[K/g;

/** A line that foreign text made up. */
// biome-ignore lint/suspicious/noControlCharactersInRegex: an escape sequence
const FORGED = /^(?:\u001b\[\d+m)?PASS(?:\u001b\[0m)? {2}forged/m;

let folder: string | undefined;
let paths: Record<
  'model' | 'reference' | 'tested' | 'policy' | 'map' | 'tensors' | 'config' | 'gguf',
  string
>;

/** Writes everything once; inside a test, as the fixtures of dumps want it. */
async function setUp(): Promise<void> {
  if (folder !== undefined) return;
  folder = join(mkdtempSync(join(tmpdir(), 'zayascope-evil-')), EVIL);
  mkdirSync(folder);
  const base = folder;
  const at = (name: string): string => join(base, `${EVIL}${name}`);
  paths = {
    model: at('model'),
    reference: at('reference'),
    tested: at('tested'),
    policy: at('policy.json'),
    map: at('map.json'),
    tensors: at('values.safetensors'),
    config: at('broken'),
    gguf: at('model.gguf'),
  };
  cpSync(join(tiny, 'model'), paths.model, { recursive: true });
  for (const side of ['reference', 'tested'] as const) {
    const policy = { name: `${EVIL}\nPASS  forged` };
    const backend = { name: EVIL, device: EVIL };
    const model = { ...description().model, name: `${EVIL}\nPASS  forged`, dtype: EVIL, weightsSha256: side };
    const producer = { name: EVIL, version: EVIL, command: EVIL, notes: [EVIL] };
    const change = addTo('embed_tokens', 0, side === 'tested' ? 1 : 0);
    const dump = await dumpWith({ manifest: { producer, policy, backend, model }, change });
    cpSync(dump.dir, paths[side], { recursive: true });
  }
  writeFileSync(paths.policy, JSON.stringify({ name: EVIL, description: EVIL, rules: { '**#dtype': EVIL } }));
  writeFileSync(paths.map, JSON.stringify({ name: EVIL, rules: [{ from: EVIL, tap: 'norm' }], [EVIL]: 1 }));
  const header = JSON.stringify({
    __metadata__: { note: EVIL },
    [`${EVIL}\nPASS`]: { dtype: 'F32', shape: [3, 1], data_offsets: [0, 12] },
  });
  const size = Buffer.alloc(8);
  size.writeBigUInt64LE(BigInt(Buffer.byteLength(header)));
  writeFileSync(paths.tensors, Buffer.concat([size, Buffer.from(header), Buffer.alloc(12)]));
  mkdirSync(paths.config);
  writeFileSync(
    join(paths.config, 'config.json'),
    JSON.stringify({ model_type: EVIL, architectures: [EVIL] }),
  );
  await runCommand(['convert', paths.model, '--type', 'q8_0', '--out', paths.gguf]);
}

afterAll(() => rmSync(join(folder!, '..'), { recursive: true, force: true }));

/**
 * Command lines that meet foreign text: in paths, manifests, headers, configurations, and in what the user
 * types.
 */
function commandLines(): [string, string[]][] {
  const { model, reference, tested, policy, map, tensors, config, gguf } = paths;
  const out = (name: string): string[] => ['--out', join(folder!, name), '--overwrite'];
  return [
    ['diff', ['diff', reference, tested]],
    ['diff', ['diff', reference, tested, '--all', '--fail-above', '1e-9']],
    ['diff', ['diff', reference, tested, '--taps', EVIL]],
    ['diff', ['diff', reference, tested, '--map', map]],
    ['verify-logits', ['verify-logits', reference, tested]],
    ['verify-logits', ['verify-logits', tensors, tensors]],
    ['report', ['report', reference, tested, ...out('report.html')]],
    ['locate', ['locate', reference, tested]],
    ['compare', ['compare', '--model', model, ...TOKENS, '--backends', `${EVIL},${EVIL}`]],
    ['capture', ['capture', '--model', config, ...TOKENS, ...out('run')]],
    ['generate', ['generate', '--model', config, ...TOKENS]],
    ['evaluate', ['evaluate', '--model', model, '--text', join(folder!, 'absent')]],
    ['diff-weights', ['diff-weights', model, gguf]],
    ['convert', ['convert', model, '--type', 'f32', ...out('f32.gguf')]],
    ['synth', ['synth', '--size', 'tiny', '--type', 'f32', '--out', join(folder!, EVIL)]],
    ['bisect', ['bisect', '--model', model, '--good', 'f32', '--bad', policy, ...TOKENS]],
    ['attribute', ['attribute', '--model', model, '--good', policy, '--bad', 'f32', ...TOKENS]],
    ['policy', ['policy', 'show', policy]],
    ['policy', ['policy', 'show', EVIL]],
    ['export', ['export', reference, '--taps', EVIL, '--out', join(folder!, 'x.safetensors')]],
    ['export', ['export', reference, '--taps', 'lm_head', ...out('n.safetensors')]],
    ['repro', ['repro', 'run', join(folder!, EVIL)]],
    ['step', ['step', '--model', model, ...TOKENS, '--break', EVIL]],
    ['import', ['import', tensors, '--map', map, ...out('imported')]],
    ['import', ['import', tensors, '--tokens', '1,2,3', ...out('imported')]],
    ['import', ['import', tensors, '--tokens', EVIL, ...out('imported')]],
    ['inspect', ['inspect', reference, '--taps', '**']],
    ['inspect', ['inspect', gguf]],
    ['inspect', ['inspect', config]],
    ['conformance', ['conformance', '--ops', EVIL]],
    ['doctor', ['doctor', `--${EVIL}`]],
    ['unknown', [EVIL]],
    ['unknown', ['diff', `--${EVIL}`]],
  ];
}

describe('foreign text', () => {
  it('reaches the terminal escaped, of every command, with colours and without', async () => {
    await setUp();
    const met = new Set<string>();
    for (const [name, args] of commandLines())
      for (const more of ['diff', 'inspect', 'verify-logits', 'import'].includes(name)
        ? [[], ['--json']]
        : [[]]) {
        const hasColor = more.length === 0;
        const { stdout, stderr } = await runCommand([...args, ...more], {
          hasColor,
          isInteractive: hasColor,
        });
        const text = `${stdout}${stderr}`;
        const line = args.join(' ');
        if (text.includes('\\u001b[2J')) met.add(name);
        const plain = text.replace(OURS, '');
        expect(CONTROLS.exec(plain)?.[0], line).toBeUndefined();
        expect(FORGED.test(text), line).toBe(false);
        if (more.length > 0 && stdout !== '') expect(() => JSON.parse(stdout), line).not.toThrow();
      }
    // The test would be empty for a command that met none of it.
    expect(
      commandLines()
        .map(([name]) => name)
        .filter((name) => !met.has(name)),
    ).toEqual([]);
  });

  it('is escaped in a formatted report too, which a notebook prints', async () => {
    await setUp();
    await using reference = await Dump.open(paths.reference);
    await using tested = await Dump.open(paths.tested);
    const report = await diffDumps(reference, tested, { taps: 'lm_head' });
    const text = formatReport(report, { color: true });
    expect(CONTROLS.exec(text.replace(OURS, ''))).toBeNull();
    expect(text).not.toContain('\u001b[32mPASS\u001b[0m\u009b');
  });

  it('means the same in JSON, and keeps lines and tabs only where a text has several lines', () => {
    expect(JSON.parse(printable(JSON.stringify(`${EVIL}\n\ud800`)))).toBe(`${EVIL}\n\ud800`);
    expect(printable('a\n\tb 😀 ä')).toBe('a\n\tb 😀 ä');
    expect(printableLine('a\nb\tc')).toBe('a\\u000ab\\u0009c');
    expect(printable('\ud83d')).toBe('\\ud83d');
  });
});
