import { Command } from 'commander';
import type { CommandContext } from './command-line.js';
import { toJson } from './json.js';
import { fields, table } from './table.js';

/** `zayascope doctor`: what is installed, what is missing and how to get it. */
export function doctorCommand(context: CommandContext): Command {
  return new Command('doctor')
    .description('Prints versions and devices, and how to get what is missing.')
    .option('--json', 'print the result as JSON')
    .addHelpText('after', '\nExit code 1: the native addon does not load, so nothing can be captured.')
    .action(async (options: { json?: boolean }) => {
      const { examine } = await import('./installation.js');
      const found = await examine();
      context.terminal.result(options.json ? toJson(found) : format(found));
      if (found.parts.some(({ state }) => state === 'broken')) context.exitWith(1);
    });
}

type Found = Awaited<ReturnType<typeof import('./installation.js').examine>>;

function format({ versions, parts, devices, cpuFeatures }: Found): string {
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
  return [lines, checks, ...(fixes.length === 0 ? [] : [fixes.join('\n')])].join('\n\n');
}
