import { Command, Option } from 'commander';
import { formatReplay } from '../../recording/replay/format-replay.js';
import type { ReplayMode } from '../../recording/replay/replay.js';
import type { CommandContext } from '../command-line.js';
import { toJson } from '../json.js';
import { addDeviceOptions, type DeviceOptions } from '../options/device.js';
import { integerOption } from '../options/values.js';
import { withProgress } from '../progress.js';
import { runCancellable } from '../run-cancellable.js';

interface ReplayCommandOptions extends DeviceOptions {
  model?: string;
  mode?: ReplayMode;
  top: number;
  json?: boolean;
}

/** `zayascope replay`: every node of a recording again, on its own inputs. */
export function replayCommand(context: CommandContext): Command {
  const command = new Command('replay')
    .description(
      'Runs every node of a recording again on its own inputs: as it was, and with its operands in F32.',
    )
    .argument('<recording>', 'folder of the recording')
    .option(
      '--model <file>',
      'the GGUF file that ran, or of capture --nodes the model; not for what zayascope repro wrote',
    )
    .addOption(
      new Option(
        '--mode <mode>',
        'same: as it was; widened: with operands in F32; double: in double precision, on the CPU (default: the first two)',
      ).choices(['same', 'widened', 'double']),
    );
  return addDeviceOptions(command, { threads: 'as recorded' })
    .option('--top <count>', 'nodes to list with the largest error of their own', integerOption(0, 1000), 10)
    .option('--json', 'print the result as JSON, every node')
    .addHelpText(
      'after',
      "\nAnother device than the CPU is judged by limits: four times the rounding of what was recorded, and F32's own." +
        '\nExit code 1: a node gave other bits than recorded (expected on another CPU or thread count) or is beyond its limit, was not replayed, or holds NaN or infinities.' +
        '\n\nExample:\n  zayascope replay out/recording --model model.gguf',
    )
    .action((recording: string, options: ReplayCommandOptions) => runReplay(recording, options, context));
}

async function runReplay(
  recording: string,
  options: ReplayCommandOptions,
  context: CommandContext,
): Promise<void> {
  const { terminal } = context;
  const { replayRecording } = await import('../../recording/replay/replay.js');
  const { model, mode, backend, threads, strictF32, top } = options;
  await runCancellable(context, async (signal) => {
    const result = await withProgress(terminal, 'replay', 'nodes', (onProgress) =>
      replayRecording({
        recording,
        model,
        backend,
        modes: mode === undefined ? undefined : [mode],
        threads,
        strictF32: strictF32 === true,
        signal,
        onProgress,
      }),
    );
    terminal.result(options.json ? toJson(result) : formatReplay(result, top));
    if (
      result.partial ||
      result.nodes.some(
        ({ isSame, onDevice, problem, nonFinite }) =>
          (onDevice === undefined ? isSame === false : onDevice.isBeyond) ||
          problem !== undefined ||
          nonFinite > 0,
      )
    )
      context.exitWith(1);
  });
}
