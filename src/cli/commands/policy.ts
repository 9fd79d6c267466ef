import { Command } from 'commander';
import { FAMILIES } from '../../families/families.js';
import type { Policy, SiteKind } from '../../graph/policy.js';
import { listPresets } from '../../graph/policy.js';
import type { PolicySite } from '../../models/runtime/sites.js';
import { printableLine } from '../../printable.js';
import type { CommandContext } from '../command-line.js';
import { formatCount } from '../format-number.js';
import { toJson } from '../json.js';
import { table } from '../table.js';

interface PolicyOptions {
  model?: string;
  json?: boolean;
}

const MODEL = [
  '--model <path>',
  "model whose sites are meant (default: ZAYA1-8B's, nothing is read)",
] as const;

/** `zayascope policy`: what dtype policies say. */
export function policyCommand(context: CommandContext): Command {
  const command = new Command('policy').description(
    'Dtype policies: presets, what one resolves to, and where two differ.',
  );
  command
    .command('list')
    .description('Lists the presets, and the types of models that each is for.')
    .option('--json', 'print the result as JSON')
    .action((options: PolicyOptions) => listPolicies(options, context));
  command
    .command('show')
    .description("Resolves a policy against a model's sites: what is set where.")
    .argument('<policy>', 'preset or .json file')
    .option(...MODEL)
    .option('--json', 'print every site as JSON')
    .action((name: string, options: PolicyOptions) => showPolicy(name, options, context));
  command
    .command('diff')
    .description('Lists the sites at which two policies differ: what bisect searches.')
    .argument('<a>', 'preset or .json file')
    .argument('<b>', 'preset or .json file')
    .option(...MODEL)
    .option('--json', 'print every site as JSON')
    .addHelpText(
      'after',
      '\nExit code 1 if they differ.\n\nExample:\n  zayascope policy diff llamacpp-f32-im2col llamacpp',
    )
    .action((a: string, b: string, options: PolicyOptions) => diffPolicies(a, b, options, context));
  return command;
}

function listPolicies({ json }: PolicyOptions, { terminal }: CommandContext): void {
  const presets = listPresets();
  if (json) {
    terminal.result(toJson(presets));
    return;
  }
  const all = FAMILIES.flatMap(({ types }) => types).length;
  // Rules may differ where the words are the same.
  const rows = new Map<string, { name: string; description: string; models: string[] }>();
  for (const { name, description, models } of presets) {
    const key = `${name}\n${description}`;
    rows.set(key, { name, description, models: [...(rows.get(key)?.models ?? []), ...models] });
  }
  terminal.result(
    table(
      [{ title: 'policy' }, { title: 'models' }, { title: 'says' }],
      [...rows.values()].map(({ name, description, models }) => [
        name,
        models.length === all ? 'all' : models.join(', '),
        description,
      ]),
    ),
  );
}

async function showPolicy(
  name: string,
  { model, json }: PolicyOptions,
  { terminal }: CommandContext,
): Promise<void> {
  const { loadPolicy } = await import('../../graph/policy.js');
  const { checkPolicy, siteChoice, modelSites } = await import('../../models/runtime/sites.js');
  const { groupSites } = await import('../../locate/replay/policy-sites.js');
  const { config, tensors } = await modelOf(model);
  const { modelPolicy, settingOf } = await import('../../models/runtime/model-policy.js');
  const policy = modelPolicy(await loadPolicy(name), config);
  checkPolicy(policy, config, tensors);
  const setting = settingOf(policy, config);
  const sites = modelSites(config, tensors);
  if (json) {
    const resolved = sites.map((site) => ({
      site: site.name,
      kind: site.kind,
      value: siteChoice(site, setting),
    }));
    terminal.result(toJson({ ...policy, sites: resolved }));
    return;
  }
  const byChoice = new Map<string, PolicySite[]>();
  for (const site of sites) {
    const key = `${site.kind}\n${siteChoice(site, setting)}`;
    byChoice.set(key, [...(byChoice.get(key) ?? []), site]);
  }
  const rows = [...byChoice].flatMap(([key, members]) => {
    const [kind, value] = key.split('\n') as [SiteKind, string];
    const isDefault = value === members[0]!.values[0];
    const patterns = groupSites(members).map(({ pattern }) => pattern);
    const count = formatCount(members.length);
    if (isDefault)
      return [
        [
          kind,
          value,
          count,
          patterns.length === 1 ? 'the default' : `the default, of ${formatCount(patterns.length)} names`,
        ],
      ];
    return patterns.map((pattern, at) => (at === 0 ? [kind, value, count, pattern] : ['', '', '', pattern]));
  });
  terminal.result(`${printableLine(describe(policy))}\n\n${table(SHOW_COLUMNS, rows)}`);
}

const SHOW_COLUMNS = [
  { title: 'kind' },
  { title: 'value' },
  { title: 'sites', align: 'right' },
  { title: '' },
] as const;

async function diffPolicies(
  first: string,
  second: string,
  { model, json }: PolicyOptions,
  { terminal, exitWith }: CommandContext,
): Promise<void> {
  const { loadPolicy } = await import('../../graph/policy.js');
  const { checkPolicy } = await import('../../models/runtime/sites.js');
  const { groupSites, policyDiff } = await import('../../locate/replay/policy-sites.js');
  const { config, tensors } = await modelOf(model);
  const [a, b] = [await loadPolicy(first), await loadPolicy(second)];
  for (const each of [a, b]) checkPolicy(each, config, tensors);
  const differences = policyDiff(a, b, config, tensors);
  if (differences.length > 0) exitWith(1);
  if (json) {
    const sites = differences.map(({ site, ...values }) => ({
      site: site.name,
      block: site.block,
      ...values,
    }));
    terminal.result(toJson({ a, b, sites }));
    return;
  }
  const byChoice = new Map<string, PolicySite[]>();
  for (const { site, a: from, b: to } of differences) {
    const key = `${from}\n${to}`;
    byChoice.set(key, [...(byChoice.get(key) ?? []), site]);
  }
  const rows = [...byChoice].flatMap(([key, members]) =>
    groupSites(members).map(({ pattern, sites }) => [pattern, formatCount(sites.length), ...key.split('\n')]),
  );
  const columns = [
    { title: 'sites' },
    { title: 'count', align: 'right' },
    { title: a.name },
    { title: b.name },
  ] as const;
  terminal.result(
    differences.length === 0
      ? `${a.name} and ${b.name} agree at every site`
      : `${formatCount(differences.length)} sites differ\n\n${table(columns, rows)}`,
  );
}

function describe({ name, description }: Policy): string {
  return description === '' ? name : `${name}: ${description}`;
}

/** Configuration and tensors of a model; without one, those of ZAYA1-8B. */
async function modelOf(path: string | undefined) {
  if (path === undefined) {
    const { parseConfig } = await import('../../models/architectures.js');
    return { config: parseConfig({ model_type: 'zaya' }), tensors: undefined };
  }
  const { openModelSource } = await import('../../models/layout/source.js');
  const { checkWeights } = await import('../../models/runtime/weights.js');
  const { config, checkpoint } = await openModelSource(path);
  return { config, tensors: checkWeights(checkpoint, config).tensors };
}
