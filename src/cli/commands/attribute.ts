import { Command, Option } from 'commander';
import { badArgument } from '../../errors.js';
import type { AttributionGroup, AttributionReport } from '../../locate/bisect/attribution.js';
import type { PolicyProblem } from '../../locate/replay/policy-tests.js';
import { formatError } from '../../text-table.js';
import type { CommandContext } from '../command-line.js';
import { toJson } from '../json.js';
import { prepareDevice } from '../options/device.js';
import {
  addPolicyPairOptions,
  type PolicyPairOptions,
  policyProblem,
  readReference,
} from '../options/policy-pair.js';
import { integerOption } from '../options/values.js';
import { withProgress } from '../progress.js';
import { runCancellable } from '../run-cancellable.js';
import { fields, table } from '../table.js';

interface AttributeCommandOptions extends PolicyPairOptions {
  by: AttributionGroup;
  adjoint?: boolean;
  tested?: string;
  routing?: 'auto' | 'pinned' | 'free';
  probes?: number;
  json?: boolean;
}

const GROUPS: readonly AttributionGroup[] = ['kind', 'module', 'op', 'block', 'site'];

/** `zayascope attribute`: what each group of dtype choices adds to a drift. */
export function attributeCommand(context: CommandContext): Command {
  const command = new Command('attribute').description(
    'For each group of the choices in which two policies differ: the error with it alone, and with all but it.',
  );
  addPolicyPairOptions(command);
  // A tested dump may stand in its place.
  for (const option of command.options) if (option.long === '--bad') option.mandatory = false;
  return command
    .addOption(
      new Option('--by <group>', 'kind of choice, part of a block, value or module, block, or each site')
        .choices(GROUPS)
        .default('op'),
    )
    .option(
      '--adjoint',
      "each site's signed share of the error, to first order, from one way back through the bad run",
    )
    .option('--tested <dump>', 'with --adjoint, in place of --bad: shares of the values of this dump, by tap')
    .addOption(
      new Option(
        '--routing <choice>',
        "with --adjoint: experts of the bad run (default auto: its own; the good run's where shares do not add up)",
      ).choices(['auto', 'pinned', 'free']),
    )
    .option(
      '--probes <count>',
      "with --adjoint: random directions that estimate each site's error alone (default 2; 0: not at all)",
      integerOption(0, 1000),
    )
    .option('--json', 'print the result as JSON: the data of a waterfall')
    .addHelpText(
      'after',
      '\nErrors are energy NMSEs of the logits. They need not add up. With --adjoint shares must: their sum is printed.' +
        '\n\nExample:\n  zayascope attribute --model dumps/tiny/model --good f32 --bad llamacpp --tokens-file dumps/tiny/prompt.json',
    )
    .action((options: AttributeCommandOptions) => runAttribute(options, context));
}

async function runAttribute(options: AttributeCommandOptions, context: CommandContext): Promise<void> {
  const { terminal } = context;
  if (options.adjoint === undefined)
    for (const option of ['routing', 'probes', 'tested'] as const)
      if (options[option] !== undefined)
        throw badArgument('attribute', `--adjoint with --${option}`, `--${option} alone`);
  if ((options.bad === undefined) === (options.tested === undefined))
    throw badArgument(
      'attribute',
      'either --bad or --tested',
      options.bad === undefined ? 'neither' : 'both',
    );
  if (options.tested !== undefined) return runDump(options.tested, options, context);
  const problem = await policyProblem('attribute', options, terminal);
  if (options.adjoint) return runAdjoint(problem, options, context);
  const { attribute } = await import('../../locate/bisect/attribution.js');
  const { backend, threads, by } = options;
  await runCancellable(context, async (signal) => {
    const report = await withProgress(terminal, 'attribute', 'runs', (onProgress) =>
      attribute(problem, {
        backend,
        by,
        signal,
        onProgress,
        threads,
      }),
    );
    terminal.result(options.json ? toJson(report) : formatAttribution(report));
  });
}

async function runAdjoint(
  problem: PolicyProblem,
  { backend, threads, by, routing, probes, json }: AttributeCommandOptions,
  context: CommandContext,
): Promise<void> {
  const { terminal } = context;
  const { adjointShares } = await import('../../locate/bisect/shares/shares.js');
  const { formatShares } = await import('./attribute-adjoint.js');
  await runCancellable(context, async (signal) => {
    const report = await withProgress(terminal, 'attribute', 'segments', (onProgress) =>
      adjointShares(problem, { backend, threads, routing, probes, signal, onProgress }),
    );
    terminal.result(json ? toJson(report) : formatShares(report, by));
  });
}

async function runDump(
  tested: string,
  options: AttributeCommandOptions,
  context: CommandContext,
): Promise<void> {
  const { model, by, backend, threads, routing, json } = options;
  if (by === 'kind' || by === 'module' || options.probes !== undefined)
    throw badArgument('attribute', '--tested with --by op, block or site and no --probes', `--by ${by}`);
  const { terminal } = context;
  const { loadPolicy } = await import('../../graph/policy.js');
  const { Dump } = await import('../../dump/reader.js');
  await prepareDevice(options);
  const good = await loadPolicy(options.good);
  await using dump = await Dump.open(tested);
  const { dumpShares } = await import('../../locate/bisect/shares/dump-shares.js');
  const { formatShares } = await import('./attribute-adjoint.js');
  const reference =
    options.reference === undefined
      ? undefined
      : (await readReference('attribute', options.reference)).logits;
  await runCancellable(context, async (signal) => {
    const report = await withProgress(terminal, 'attribute', 'segments', (onProgress) =>
      dumpShares({ model, tested: dump, good, reference }, { backend, threads, routing, signal, onProgress }),
    );
    terminal.result(json ? toJson(report) : formatShares(report, by));
  });
}

function formatAttribution({ good, bad, against, rows, cost }: AttributionReport): string {
  const summary = fields([
    ['good', `${good.policy}: NMSE ${formatError(good.error, 3)}`],
    [
      'bad',
      `${bad.policy}: NMSE ${formatError(bad.error, 3)}${Number.isFinite(bad.error) ? '' : ' (its logits are NaN or infinite)'}`,
    ],
    ['against', against],
    ['cost', `${cost.forwardPasses.toFixed(1)} forward passes in ${cost.runs} runs`],
  ]);
  const columns = [
    { title: 'group' },
    { title: 'sites', align: 'right' },
    { title: 'alone', align: 'right' },
    { title: 'all but it', align: 'right' },
    { title: 'up to it', align: 'right' },
  ] as const;
  const lines = rows.map(({ group, sites, alone, repaired, cumulative }) => [
    group,
    String(sites),
    formatError(alone, 3),
    formatError(repaired, 3),
    formatError(cumulative, 3),
  ]);
  return `${summary}\n\n${table(columns, lines)}`;
}
