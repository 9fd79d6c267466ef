import { badArgument } from '../../errors.js';
import type { NodeSourceInfo, NodeStop, NodeValue } from '../../recording/step/recording-stepper.js';
import type { CommandContext } from '../command-line.js';
import { toJson } from '../json.js';
import { fields } from '../table.js';
import { describeNonFinite, FIRST, STATISTICS, type StepOptions } from './step.js';

/** Options that say something of a recording; all others are of a run. */
const OWN: ReadonlySet<string> = new Set(['break', 'until', 'print', 'json']);
/** Readers of a value that are listed. */
const MOST_USERS = 6;

/** `zayascope step` of a recording: goes to a node and prints it, what it reads and what reads it. */
export async function runStepRecording(
  folder: string,
  options: StepOptions,
  given: readonly string[],
  { terminal, exitWith }: CommandContext,
): Promise<void> {
  const other = given.find((name) => !OWN.has(name));
  if (other !== undefined)
    throw badArgument(
      'step',
      'options of recordings (--break, --until, --print, --json)',
      `--${other.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)}`,
    );
  const { openRecordingStepper } = await import('../../recording/step/recording-stepper.js');
  await using stepper = await openRecordingStepper(folder);
  const number = /^\d+$/.test(options.break ?? '') ? Number(options.break) : undefined;
  const stop =
    number === undefined
      ? await goOn(stepper, options)
      : { reason: `${number}`, value: await stepper.goTo(number) };
  const asked = options.break !== undefined || options.until !== undefined;
  const foundNonFinite = options.until === undefined && stop.value.nonFinite > 0;
  if ((asked && stop.reason === 'end') || foundNonFinite) exitWith(1);
  const { value } = stop;
  if (options.json) {
    const { data, ...rest } = value;
    terminal.result(
      toJson({
        reason: stop.reason,
        total: stepper.names.length,
        ...rest,
        first: [...data.subarray(0, FIRST)],
      }),
    );
  } else if (options.print !== 'all') {
    if (foundNonFinite)
      terminal.notice(
        `zayascope: NOT FINITE: ${describeNonFinite(value.stats)}; ${options.print} is over the others\n`,
      );
    terminal.result(String(value.stats[options.print]));
  } else terminal.result(format(stop, stepper.names.length));
}

async function goOn(
  stepper: Awaited<
    ReturnType<typeof import('../../recording/step/recording-stepper.js').openRecordingStepper>
  >,
  options: StepOptions,
): Promise<NodeStop> {
  if (options.break !== undefined) stepper.breakpoint(options.break);
  if (options.until !== undefined) stepper.breakpoint(options.until);
  return stepper.continue();
}

function format({ reason, value }: NodeStop, total: number): string {
  const { name, id, op, step, block, axes, shape, dtype, stats, data, parameters, sources, users } = value;
  return fields([
    ['value', `${name} (${value.index + 1} of ${total})`],
    ['node', `${id}: ${op}, step ${step}${block === null ? '' : `, block ${block}`}`],
    ['stopped by', reason === 'end' ? 'nothing: the end of the recording' : reason],
    ...(parameters.length > 0 ? ([['parameters', parameters.join(', ')]] as const) : []),
    ['shape', `${axes.map((axis, at) => `${axis} ${shape[at]}`).join(', ')}; ${dtype}`],
    ...(value.nonFinite > 0 ? ([['NOT FINITE', describeNonFinite(stats)]] as const) : []),
    ...STATISTICS.map((statistic) => [statistic, String(stats[statistic])] as const),
    ['first', [...data.subarray(0, FIRST)].join(', ')],
    ...sources.map((source, k) => [k === 0 ? 'reads' : '', sourceWords(source)] as const),
    ['read by', readers(value, users)],
  ]);
}

function sourceWords({ name, kind, type, ne, isView, writers }: NodeSourceInfo): string {
  const by = kind === 'state' && writers.length > 0 ? `, written by ${writers.join(', ')}` : '';
  return `${kind === 'node' ? '' : `${kind} `}${name}: ${ne.join(' x ')}, ${type}${isView ? ', a view' : ''}${by}`;
}

function readers({ name }: NodeValue, users: readonly string[]): string {
  if (users.length === 0) return `nothing reads ${name}`;
  const rest = users.length - MOST_USERS;
  return `${users.slice(0, MOST_USERS).join(', ')}${rest > 0 ? `, and ${rest} more` : ''}`;
}
