import { Command } from 'commander';
import type { BisectReport } from '../../locate/bisect/bisect.js';
import { patternGlobs } from '../../tap-pattern.js';
import { formatError } from '../../text-table.js';
import type { CommandContext } from '../command-line.js';
import { toJson } from '../json.js';
import { addPolicyPairOptions, type PolicyPairOptions, policyProblem } from '../options/policy-pair.js';
import { integerOption, thresholdOption } from '../options/values.js';
import { withProgress } from '../progress.js';
import { runCancellable } from '../run-cancellable.js';
import { fields, table } from '../table.js';

interface BisectCommandOptions extends PolicyPairOptions {
  failAbove?: number;
  maxPasses: number;
  state?: string;
  adjoint?: boolean;
  json?: boolean;
}

/** `zayascope bisect`: the smallest set of dtype choices that explains a drift. */
export function bisectCommand(context: CommandContext): Command {
  const command = new Command('bisect').description(
    'Finds a smallest set of the choices in which two policies differ that makes a run fail.',
  );
  return addPolicyPairOptions(command)
    .option(
      '--fail-above <nmse>',
      'a run with a larger energy NMSE of its logits fails (default: half way from good to bad)',
      thresholdOption,
    )
    .option(
      '--max-passes <count>',
      'forward passes that the search may cost; more give finer results',
      integerOption(2, 1_000_000),
      30,
    )
    .option(
      '--adjoint',
      'take the order from what each site does alone, estimated from ways back: finer results for the same passes',
    )
    .option('--state <file>', 'keep what was measured in this JSON file, and go on from it')
    .option('--json', 'print the result as JSON')
    .addHelpText(
      'after',
      '\nExit code 1: the result is not verified, because the passes did not suffice.' +
        '\n\nExample:\n  zayascope bisect --model dumps/tiny/model --good llamacpp-f32-im2col --bad llamacpp --tokens-file dumps/tiny/prompt.json',
    )
    .action((options: BisectCommandOptions) => runBisect(options, context));
}

async function runBisect(options: BisectCommandOptions, context: CommandContext): Promise<void> {
  const { terminal } = context;
  const problem = await policyProblem('bisect', options, terminal);
  const { bisect } = await import('../../locate/bisect/bisect.js');
  const { backend, threads, failAbove, maxPasses, state } = options;
  await runCancellable(context, async (signal) => {
    const expected = options.adjoint
      ? await withProgress(terminal, 'bisect', 'segments back', async (onProgress) => {
          const { expectedErrors } = await import('../../locate/bisect/shares/alone.js');
          return expectedErrors(problem, { backend, threads, signal, onProgress });
        })
      : undefined;
    const report = await withProgress(terminal, 'bisect', 'forward passes at most', (onProgress) =>
      bisect(problem, {
        backend,
        maxPasses,
        signal,
        onProgress: (passes, most) => onProgress(Math.ceil(passes), most),
        threads,
        failAbove,
        stateFile: state,
        ...(expected === undefined ? {} : { expected }),
      }),
    );
    terminal.result(options.json ? toJson(report) : formatBisect(report));
    if (!report.verified) context.exitWith(1);
  });
}

/** Interactions shown to people. */
const SHOWN_INTERACTIONS = 5;

function formatBisect(report: BisectReport): string {
  const { good, bad, minimal, cost, interactions } = report;
  const summary = fields([
    ['good', `${good.policy}: NMSE ${errorText(good.error)}`],
    [
      'bad',
      `${bad.policy}: NMSE ${errorText(bad.error)}${Number.isFinite(bad.error) ? '' : ' (its logits are NaN or infinite)'}`,
    ],
    ['fails above', `${errorText(report.failAbove)}, against the ${report.against}`],
    ['differ at', `${report.sites} sites: ${abbreviate(report.groups)}`],
    [
      'minimal set',
      `${countUnits(report)}, NMSE ${errorText(report.error)}, ${
        report.verified
          ? 'verified: without any one of them the run passes'
          : 'not verified: more --max-passes are needed'
      }`,
    ],
    [
      'cost',
      `${cost.forwardPasses.toFixed(1)} forward passes in ${cost.runs} runs${cost.resumed > 0 ? `, ${cost.resumed} errors from the state file` : ''}`,
    ],
  ]);
  const units = table(
    [
      { title: 'sites' },
      { title: good.policy },
      { title: bad.policy },
      { title: 'alone', align: 'right' },
      { title: 'set without', align: 'right' },
    ],
    minimal.map((unit) => [
      abbreviate(patternGlobs(unit.pattern)),
      unit.good,
      unit.bad,
      errorText(unit.alone),
      errorText(unit.without),
    ]),
  );
  if (interactions.length === 0) return `${summary}\n\n${units}`;
  const pairs = table(
    [
      { title: 'together' },
      { title: '' },
      { title: 'NMSE', align: 'right' },
      { title: 'more than the sum', align: 'right' },
    ],
    interactions
      .slice(0, SHOWN_INTERACTIONS)
      .map(({ units: [a, b], together, excess }) => [
        abbreviate(patternGlobs(a)),
        abbreviate(patternGlobs(b)),
        errorText(together),
        errorText(excess),
      ]),
  );
  return `${summary}\n\n${units}\n\n${pairs}`;
}

function countUnits({ minimal, level }: BisectReport): string {
  const noun = level === 'site' ? 'site' : 'group';
  return `${minimal.length} ${noun}${minimal.length === 1 ? '' : 's'}${level === 'site' ? '' : ' of sites'}`;
}

/** Patterns that are shown of a group; --json has all. */
const SHOWN_PATTERNS = 3;

function abbreviate(patterns: readonly string[]): string {
  const shown = patterns.length > SHOWN_PATTERNS + 1 ? patterns.slice(0, SHOWN_PATTERNS) : patterns;
  const rest = patterns.length - shown.length;
  return `${shown.join(' ')}${rest > 0 ? ` and ${rest} more` : ''}`;
}

function errorText(error: number | null): string {
  if (error === Number.MAX_VALUE) return 'any number';
  return error === null ? '-' : formatError(error, 3);
}
