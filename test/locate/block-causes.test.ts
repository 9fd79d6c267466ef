/**
 * Faults of one kind of op that differ from block to block: each has its own cause named. The model is made
 * wrong in its file, the dtypes by a policy's rule for one block.
 */
import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, it } from 'vitest';
import type { LocatedKind, LocateReport } from '../../src/locate/faults/report.js';
import { runCommand } from '../cli/run-command.js';
import { root } from '../reference/python.js';

const tiny = join(root, 'dumps', 'tiny');
const model = join(tiny, 'model');
const scratch = mkdtempSync(join(tmpdir(), 'zayascope-block-causes-'));
afterAll(() => rmSync(scratch, { recursive: true, force: true }));

const CONVOLUTION = 'self_attn.qkv_proj.conv_qk_grouped';
const OUTPUT = 'self_attn.o_proj';
type Rule = { sites: string; set: string };
/** Changes a BF16 weight `[rows, columns]`, given as its bits. */
type Edit = (bits: Uint16Array, shape: readonly number[]) => void;

/** Both taps of each kernel exchanged. */
const reversed: Edit = (bits) => {
  for (let k = 0; k < bits.length; k += 2) bits.set([bits[k + 1]!, bits[k]!], k);
};
const transposed: Edit = (bits, [rows]) => {
  const own = bits.slice();
  for (const [k, value] of own.entries()) bits[(k % rows!) * rows! + Math.floor(k / rows!)] = value;
};
/**
 * Rows 3 and 7 have every `step`-th element of each other: with 1 they are exchanged, 2 is no cause of the
 * table.
 */
const mixed =
  (step: number): Edit =>
  (bits, [, columns]) => {
    for (let at = 0; at < columns!; at += step) {
      const [third, seventh] = [3 * columns! + at, 7 * columns! + at];
      [bits[third], bits[seventh]] = [bits[seventh]!, bits[third]!];
    }
  };

let made = 0;
/** The kind of op of `suffix` in the report of a program with these faults. */
async function kindOf(suffix: string, edits: Record<string, Edit>, rules: Rule[] = []): Promise<LocatedKind> {
  const [wrong, out, policy] = ['model', 'dump', 'policy.json'].map((name) =>
    join(scratch, `${made}-${name}`),
  );
  made++;
  cpSync(model, wrong!, { recursive: true });
  const file = join(wrong!, 'model.safetensors');
  const bytes = readFileSync(file);
  const head = Number(bytes.readBigUInt64LE());
  const header = JSON.parse(bytes.subarray(8, 8 + head).toString());
  for (const [name, edit] of Object.entries(edits)) {
    const { shape, data_offsets: offsets, dtype } = header[`model.${name}.weight`];
    expect(dtype).toBe('BF16');
    const [start, end] = offsets.map((offset: number) => 8 + head + offset);
    const bits = new Uint16Array(new Uint8Array(bytes.subarray(start, end)).buffer);
    edit(bits, shape);
    bytes.set(new Uint8Array(bits.buffer), start);
  }
  writeFileSync(file, bytes);
  writeFileSync(policy!, JSON.stringify({ name: 'own', description: 'for a test', rules }));
  const run = ['--tokens-file', join(tiny, 'prompt.json'), '--policy', policy!, '--threads', '1'];
  await runCommand(['capture', '--model', wrong!, ...run, '--out', out!]);
  // Whose weights and dtypes they are is not known of a port.
  const manifest = JSON.parse(readFileSync(join(out!, 'manifest.json'), 'utf8'));
  Object.assign(manifest.model, { weightsSha256: 'unknown' });
  manifest.policy = { name: 'unknown' };
  writeFileSync(join(out!, 'manifest.json'), JSON.stringify(manifest));
  const args = [
    'locate',
    join(tiny, 'reference-float32'),
    out!,
    '--model',
    model,
    '--threads',
    '1',
    '--json',
  ];
  const report: LocateReport = JSON.parse((await runCommand(args)).stdout);
  return report.kinds.find(({ kind }) => kind === `.${suffix}`)!;
}

const IM2COL =
  'im2col in F16 rounds the inputs of the grouped convolution: recomputed so, its error falls from';
const REVERSED = `The taps of \`${CONVOLUTION}.weight\` are in reversed order of time in block 3: NMSE`;
const inF16 = (blocks: string): Rule => ({ sites: `layers.${blocks}.${CONVOLUTION}#patches`, set: 'F16' });

it('are two choices of dtype', async () => {
  const rules = [inF16('1'), { sites: `layers.3.${CONVOLUTION}#round`, set: 'BF16' }];
  const { sentence, parts, cause } = await kindOf(CONVOLUTION, {}, rules);
  expect(sentence).toMatch(
    new RegExp(
      `^In block 1: ${IM2COL} [23]\\.\\de-8 to 0\\. In block 3: BF16 rounds the grouped convolution: recomputed so, its error falls from [1-4]\\.\\de-6 to 0\\.$`,
    ),
  );
  expect([parts.map(({ blocks }) => blocks), cause]).toEqual([[[1], [3]], null]);
});

it('are a choice and a structure', async () => {
  const { sentence, blocks } = await kindOf(CONVOLUTION, { [`layers.3.${CONVOLUTION}`]: reversed }, [
    inF16('1'),
  ]);
  expect(blocks).toEqual([1, 3]);
  expect(sentence).toMatch(
    new RegExp(`^In block 1: ${IM2COL} .*\\. ${REVERSED} \\S+ as given, 0 reversed\\.$`),
  );
});

it('are a choice in all blocks, and a structure besides in one', async () => {
  const { sentence } = await kindOf(CONVOLUTION, { [`layers.3.${CONVOLUTION}`]: reversed }, [inF16('*')]);
  expect(sentence).toMatch(
    new RegExp(
      `^In blocks 0–2, 4–7: ${IM2COL} .*\\. ${REVERSED} \\S+ as given, 0 reversed\\. There too im2col in F16 rounds the inputs of the grouped convolution\\.$`,
    ),
  );
});

it('are a structure, and what nothing explains', async () => {
  const edits = { [`layers.2.${OUTPUT}`]: transposed, [`layers.5.${OUTPUT}`]: mixed(2) };
  const { sentence, parts } = await kindOf(OUTPUT, edits);
  expect(sentence).toMatch(
    /^`self_attn\.o_proj\.weight` is transposed in block 2: NMSE \S+ as given, 0 transposed\. In block 5: nothing that was tried explains the error \(\S+\)\. Only columns 3, 7 of 128 are wrong\.$/,
  );
  expect(parts.map(({ blocks, cause }) => [blocks, cause])).toEqual([
    [[2], 0],
    [[5], null],
  ]);
});

it('are two structures', async () => {
  const edits = { [`layers.2.${OUTPUT}`]: transposed, [`layers.5.${OUTPUT}`]: mixed(1) };
  const { sentence, parts } = await kindOf(OUTPUT, edits);
  expect(sentence).toMatch(
    /^`self_attn\.o_proj\.weight` is transposed in block 2: .* Columns 3 and 7 of the output projection of attention \(or these rows of `self_attn\.o_proj\.weight`\) are exchanged in block 5: NMSE \S+ as given, 0 exchanged\./,
  );
  expect(parts.map(({ blocks }) => blocks)).toEqual([[2], [5]]);
});

it('are one cause where all blocks have it', async () => {
  const { sentence, parts } = await kindOf(CONVOLUTION, {}, [inF16('{1,3,4}')]);
  expect(sentence).toMatch(/^Im2col in F16 rounds the inputs of the grouped convolution: /);
  expect(parts).toEqual([]);
});
