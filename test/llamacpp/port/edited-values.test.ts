/** Values of the branch that are changed by hand: each is named, and what follows from it is not. */
import { join } from 'node:path';
import { beforeAll, expect, it } from 'vitest';
import type { LocateReport } from '../../../src/index.js';
import { runCommand } from '../../cli/run-command.js';
import { editedFolder } from './edited-folder.js';
import { portModel, portReference, portScratch, TINY_MODEL } from './port-folders.js';

/** Exchanges two rows of `width` elements. */
function exchangeRows(values: Float32Array, width: number, a: number, b: number): void {
  const row = values.slice(a * width, (a + 1) * width);
  values.copyWithin(a * width, b * width, (b + 1) * width);
  values.set(row, b * width);
}

let report: LocateReport;
beforeAll(async () => {
  // Attention of block l is half-layer 2l, its experts are 2l + 1.
  const folder = editedFolder('before-f32', 'edited', {
    change(name, values, [width]) {
      if (name === 'attn_out-8') exchangeRows(values, width!, 5, 9);
      if (name === 'Qraw-6')
        for (let row = 0; row < values.length; row += width!)
          exchangeRows(values.subarray(row, row + width!), 1, 3, 90);
      if (name === 'ffn_moe_topk-5') {
        const choices = new Int32Array(values.buffer);
        choices.set(choices.map((choice) => (choice + 1) % 8));
      }
    },
  });
  const dump = portScratch('edited-dump');
  const config = join(TINY_MODEL, 'config.json');
  const imported = ['import', folder, '--map', 'llamacpp', '--config', config, '--out', dump];
  expect(await runCommand(imported)).toMatchObject({ code: 0, stderr: '' });
  const args = ['locate', portReference(), dump, '--model', await portModel('before-f32'), '--json'];
  const { code, stdout, stderr } = await runCommand([...args, '--threads', '1']);
  expect({ code, stderr }).toEqual({ code: 1, stderr: '' });
  report = JSON.parse(stdout);
});

const sentence = (kind: string) => report.kinds.find((each) => each.kind === kind)!.sentence;

it('names tokens and columns that stand in each other’s place, and what reads them so', () => {
  const tokens = report.causes.find(({ key }) => key === 'exchanged T 5 9')!;
  expect([tokens.blocks, tokens.kinds.includes('.self_attn.o_proj')]).toEqual([[4], true]);
  expect(tokens.sentence).toMatch(/^Tokens 5 and 9 of .* are exchanged in block 4\b/);
  const columns = report.causes.find(({ key }) => key === 'exchanged columns 3 90')!;
  expect([columns.blocks, columns.kinds.includes('.self_attn.qkv_proj.q_proj')]).toEqual([[3], true]);
  expect(columns.sentence).toMatch(/^Columns 3 and 90 of .* are exchanged in block 3\b/);
  expect(sentence('.self_attn.qkv_proj:query_residual')).toMatch(
    /^The mean of each query head and its key head reads columns 3 and 90 of the query projection exchanged in block 3\b/,
  );
});

it('goes on where a choice is wrong of whose classes the port holds 8 of 9', () => {
  expect(sentence('.mlp.gate:expert')).toContain(
    'In block 2: nothing that was tried explains the error (1.0e+0)',
  );
  expect(sentence('.mlp.experts:down')).toMatch(
    /^Every token runs through the expert before its own in block 2\b/,
  );
});
