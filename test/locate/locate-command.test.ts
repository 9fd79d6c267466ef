import { cpSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { capture } from '../../src/capture/capture.js';
import { Dump } from '../../src/dump/reader.js';
import { openModel } from '../../src/models/runtime/model.js';
import { runCommand } from '../cli/run-command.js';
import { root } from '../reference/python.js';
import { portDtypes } from './port-dtypes.js';

const tiny = join(root, 'dumps', 'tiny');
const [reference, bfloat16, model] = ['reference-float32', 'reference-bfloat16', 'model'].map((name) =>
  join(tiny, name),
) as [string, string, string];
const scratch = mkdtempSync(join(tmpdir(), 'zayascope-locate-'));
const port = join(scratch, 'port');
const portPolicy = join(scratch, 'port.json');

beforeAll(async () => {
  writeFileSync(portPolicy, JSON.stringify(portDtypes()));
  using llamacpp = await openModel(model, { policy: portPolicy });
  await using dump = await Dump.open(reference);
  await capture(
    llamacpp,
    dump.manifest.sequences.map(({ tokens }) => tokens!),
    { out: port },
  );
});
afterAll(() => rmSync(scratch, { recursive: true }));

describe('zayascope locate', () => {
  it('runs a policy and exits with 1 where it has sources of error, each with what it is and what to do next', async () => {
    const { code, stdout, stderr } = await runCommand([
      'locate',
      reference,
      '--model',
      model,
      '--policy',
      'llamacpp',
    ]);
    expect({ code, stderr }).toEqual({ code: 1, stderr: '' });
    expect(stdout).toMatch(/^FAULT {2}6 kinds of op make more error of their own than a right one$/m);
    expect(stdout).toMatch(/^first fault: layers\.0\.self_attn\.qkv_proj\.conv_qk_grouped$/m);
    expect(stdout).toMatch(/^lm_head: NMSE \d\.\de-\d \(policy f32: \d\.\de-13\)$/m);
    expect(stdout).toMatch(/^\d\. The skip class is never chosen: its tokens go to the best real expert\./m);
    expect(stdout).toMatch(/^routing: 30 of 448 choices .* 26 chose the skip class, the port has none/m);
    expect(stdout).toMatch(/^\d\. Im2col in F16 rounds the inputs of the grouped convolution\.$/m);
    expect(stdout).toMatch(
      /^ {3}next: zayascope repro .* --op layers\.\d\.mlp\.gate:expert --policy llamacpp/m,
    );
    expect(stdout).toMatch(/^about zero, as f32 itself: F16 rounds the weight of the grouped convolution$/m);
    expect(stdout).toContain('zayascope bisect --model');
    expect(stdout).toContain('estimated share');
  });

  it('stays short however deep the model: a line a kind of op', async () => {
    const { stdout } = await runCommand(['locate', reference, '--model', model, '--policy', 'llamacpp']);
    expect(stdout.split('\n').length).toBeLessThan(45);
    const all = await runCommand(['locate', reference, '--model', model, '--policy', 'llamacpp', '--all']);
    expect(all.stdout.split('\n').length).toBeGreaterThan(372);
    expect(all.stdout).toMatch(/^layers\.3\.self_attn\.o_proj +\S+ +\S+ +\S+ +\S+ +\S+x +within noise$/m);
  });

  it('recomputes the ops of another dump, and finds the choices that explain them', async () => {
    const { code, stdout } = await runCommand(['locate', reference, port, '--model', model]);
    expect(code).toBe(1);
    expect(stdout).toMatch(
      /Im2col in F16 rounds the inputs of the grouped convolution: recomputed so, its error falls/,
    );
    expect(stdout).toMatch(
      /The tanh approximation stands in for the exact form in the router's first GELU: recomputed so/,
    );
    expect(stdout).toMatch(/Keys and queries are rounded to F16 .*: recomputed so/);
  });

  it('says without a model where errors begin, and what it cannot tell', async () => {
    const { code, stdout } = await runCommand(['locate', reference, port]);
    expect(code).toBe(1);
    expect(stdout).toMatch(/^first fault: layers\.0\.self_attn\.qkv_proj\.conv_qk_grouped$/m);
    expect(stdout).toMatch(/^note: Without --model no op can be recomputed/m);
    expect(stdout).toMatch(/^note: Without --noise a deviation is judged by fixed thresholds/m);
    expect(stdout).not.toContain('share*');
  });

  it('accuses no op of a right run in half precision without a model', async () => {
    const { code, stdout } = await runCommand(['locate', reference, bfloat16]);
    expect(stdout).toMatch(/^SILENT/m);
    expect(stdout).not.toContain('are recomputed');
    expect(code).toBe(0);
  });

  it('is silent within the noise, with 0', async () => {
    // The run again: its own folder would be refused.
    const again = join(scratch, 'again');
    cpSync(bfloat16, again, { recursive: true });
    const args = ['locate', reference, again, '--model', model, '--noise', bfloat16];
    const { code, stdout } = await runCommand(args);
    expect(code).toBe(0);
    expect(stdout).toContain('note: The tested dump errs as reference-bfloat16 does, to the bit');
    expect(stdout).toMatch(/^SILENT {2}none of \d+ ops makes more error of its own than a right one$/m);
    expect(stdout).toMatch(/^routing: 6 of 448 choices .* 5 close call, 1 inherited$/m);
  });

  it('calls the rounding of a policy what the policy asks for', async () => {
    const args = ['locate', reference, '--model', model, '--policy', 'pytorch-bf16'];
    const { stdout } = await runCommand(args);
    expect(stdout).toMatch(/^1\. Policy pytorch-bf16 asks for this: BF16 rounds the router's norm\.$/m);
    expect(stdout).not.toContain('goes wrong by itself');
  });

  it('tolerates what the caller says', async () => {
    const args = ['locate', reference, port, '--model', model];
    expect(await runCommand([...args, '--fail-above', '1e-6'])).toMatchObject({ code: 0 });
    expect(await runCommand([...args, '--fail-above', '1e-9'])).toMatchObject({ code: 1 });
  });

  it('recomputes in the dtypes that the tested program is said to have', async () => {
    const { code, stdout } = await runCommand([
      'locate',
      reference,
      port,
      '--model',
      model,
      '--policy',
      portPolicy,
    ]);
    expect(code).toBe(0);
    expect(stdout).toContain('Ops of port are recomputed in the dtypes of policy llamacpp.');
  });

  it('prints the report as one JSON document', async () => {
    const { code, stdout } = await runCommand(['locate', reference, port, '--model', model, '--json']);
    const report = JSON.parse(stdout);
    expect(code).toBe(1);
    // The port's dtypes are no preset, whatever their name.
    expect(report.notes).toContain(
      'Ops of port are recomputed in F32, though it ran under policy llamacpp: what that policy asks for counts as error. --policy with its file recomputes them under it.',
    );
    expect(report).toMatchObject({
      format: 'zayascope-locate',
      version: 1,
      mode: 'dumps',
      reference: 'reference-float32',
      tested: 'port',
      noise: null,
      found: true,
    });
    expect(report.ops).toHaveLength(372);
    expect(report.ops[0]).toMatchObject({ tap: 'embed_tokens', verdict: 'exact', inputs: [] });
  });

  it.each([
    ['neither a dump nor a policy', ['locate', reference], 'BAD_ARGUMENT'],
    ['a policy without a model', ['locate', reference, '--policy', 'f32'], 'BAD_ARGUMENT'],
    ['a policy that is none', ['locate', reference, '--model', model, '--policy', 'f31'], 'BAD_ARGUMENT'],
    ['a folder that is no dump', ['locate', join(scratch, 'nothing'), port], 'IO'],
    ['a folder that is no model', ['locate', reference, port, '--model', scratch], 'IO'],
  ])('exits with 2 for %s', async (_what, args, errorCode) => {
    const { code, stdout, stderr } = await runCommand(args);
    expect({ code, stdout }).toEqual({ code: 2, stdout: '' });
    expect(stderr).toMatch(new RegExp(`^zayascope: ${errorCode}: [^\n]*\n$`));
  });
});
