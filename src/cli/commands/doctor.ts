import { Command } from 'commander';
import type { CommandContext } from '../command-line.js';
import { formatCount } from '../format-number.js';
import type { Installation } from '../installation.js';
import { toJson } from '../json.js';
import { addRunOptions, openOptions, type RunOptions } from '../options/run.js';
import { fields, table } from '../table.js';
import type { ModelOnDevice } from './examine-model.js';

interface DoctorOptions extends RunOptions {
  model?: string;
  json?: boolean;
}

/**
 * `zayascope doctor`: what is installed, what is missing and how to get it; with a model, how it runs on a
 * device.
 */
export function doctorCommand(context: CommandContext): Command {
  const command = new Command('doctor')
    .description('Prints versions and devices, and how to get what is missing.')
    .option('--model <path>', 'say which ops of this model the device of --backend does not run, and why');
  return addRunOptions(command)
    .option('--json', 'print the result as JSON')
    .addHelpText(
      'after',
      '\nExit code 1: the native addon does not load, so nothing can be captured; with --model:' +
        '\nan op does not run on the device.' +
        '\nFiles that killed runs left in and below the current folder are listed; the next run that writes' +
        '\nto the same place removes them.' +
        '\n\nExample:\n  zayascope doctor --model dumps/tiny/model --backend vulkan',
    )
    .action(async (options: DoctorOptions) => {
      const { terminal } = context;
      if (options.model !== undefined) {
        const { examineModel } = await import('./examine-model.js');
        const found = await examineModel(options.model, openOptions(options));
        terminal.result(options.json ? toJson(found) : formatModel(found));
        if (found.unsupported.length > 0) context.exitWith(1);
        return;
      }
      const { examine } = await import('../installation.js');
      const found = await examine();
      terminal.result(options.json ? toJson(found) : format(found));
      if (found.parts.some(({ state }) => state === 'broken')) context.exitWith(1);
    });
}

function format({ versions, parts, devices, cpuFeatures, leftovers }: Installation): string {
  const lines = fields([
    ...Object.entries(versions),
    ...devices.map(({ name, description }): [string, string] => ['device', `${name}: ${description}`]),
    ['CPU features', cpuFeatures.join(' ') || 'unknown'],
  ]);
  const checks = table(
    [{ title: 'part' }, { title: 'state' }, { title: 'what it is' }],
    parts.map(({ name, state, detail }) => [name, state, detail]),
  );
  const fixes = parts.flatMap(({ name, fix }) => (fix === undefined ? [] : [`To get the ${name}: ${fix}`]));
  const remains = leftovers.map((path) => `Left by a killed run: ${path}`);
  return [lines, checks, fixes.join('\n'), remains.join('\n')].filter((part) => part !== '').join('\n\n');
}

function formatModel(found: ModelOnDevice): string {
  const { model, policy, device, description, strictF32, nodes, unsupported, inserted } = found;
  const lines = fields([
    ['model', `${model}, policy ${policy}`],
    ['device', `${device} (${description})`],
    [
      'F32 products',
      strictF32
        ? 'of F32 operands'
        : 'operands may be rounded to half width; --strict-f32 turns that off where there is a switch',
    ],
    [
      'ops',
      unsupported.length === 0
        ? `${formatCount(nodes)} nodes of a prefill and a decode step, all on the device`
        : `${formatCount(unsupported.length)} do not run on the device`,
    ],
    [
      'copies',
      inserted.length === 0
        ? 'none'
        : `${formatCount(inserted.length)}, in front of ops that need contiguous operands there`,
    ],
  ]);
  const gaps = table(
    [{ title: 'op' }, { title: 'operands and result' }, { title: 'why' }],
    unsupported.map(({ node, operands, reason }) => [node, operands, reason]),
  );
  const needs = new Map<string, { row: string[]; count: number }>();
  for (const { node, need } of inserted) {
    const key = `${need.op} ${need.operand}`;
    const entry = needs.get(key) ?? { row: [need.op, String(need.operand), node, need.reason], count: 0 };
    needs.set(key, { ...entry, count: entry.count + 1 });
  }
  const copies = table(
    [
      { title: 'op' },
      { title: 'operand' },
      { title: 'nodes', align: 'right' },
      { title: 'first' },
      { title: 'why' },
    ],
    [...needs.values()].map(({ row: [op, operand, first, why], count }) => [
      op!,
      operand!,
      formatCount(count),
      first!,
      why!,
    ]),
  );
  return [lines, ...(unsupported.length > 0 ? [gaps] : []), ...(needs.size > 0 ? [copies] : [])].join('\n\n');
}
