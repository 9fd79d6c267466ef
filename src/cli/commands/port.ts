import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { Command } from 'commander';
import { describePlace } from '../../describe-place.js';
import type { DumpView } from '../../dump/dump-view.js';
import { unmet, type ZayascopeError } from '../../errors.js';
import type { ModelSource } from '../../models/layout/source.js';
import { pathExists } from '../../regular-file.js';
import { writeTextAtomically } from '../../weights/atomic-file.js';
import type { CommandContext } from '../command-line.js';
import { toJson } from '../json.js';
import { JOURNEY_FILES, openJourneyFolder } from '../port-folder.js';
import { shellWord } from '../shell-word.js';
import type { Terminal } from '../terminal.js';

interface PortCommandOptions {
  model: string;
  reference: string;
  map: string;
  config?: string;
  sequences?: string;
  out: string;
  threads?: string;
  noise?: string;
  json?: boolean;
}

const ROOT = fileURLToPath(new URL('../../../', import.meta.url));
/** Of the reference's manifest, which tells it from a checkpoint. */
const MANIFEST = 'manifest.json';
const CONFIG = 'config.json';
/** Of a folder that zayascope_dump.h wrote. */
const LLAMACPP_INDEX = 'index.jsonl';

/**
 * `zayascope port`: from the folder that a port wrote to the op that errs, each step a command that can be
 * run alone.
 */
export function portCommand(context: CommandContext): Command {
  return new Command('port')
    .description(
      "Compares a llama.cpp port's run with the reference: imports it, makes the reference, locates, reports.",
    )
    .argument('<folder>', 'folder that zayascope_dump.h wrote')
    .requiredOption('--model <path>', 'the GGUF file that the port ran, or a checkpoint')
    .requiredOption(
      '--reference <folder>',
      'dump of the reference for the same ids, or the checkpoint (transformers) to make it of',
    )
    .option('--map <map>', 'which name is which tap, as in import', 'llamacpp')
    .option('--config <file>', "the model's config.json (default: that of the reference)")
    .option('--sequences <lengths>', 'as in import')
    .option(
      '--out <folder>',
      'folder for dump, reference and report; new, empty or of an earlier journey',
      'out/journey',
    )
    .option(
      '--noise <dump>',
      'noise floor, or low-precision run of the reference, for diff, locate and report',
    )
    .option('--threads <count>', 'CPU threads of locate, 1 to 512')
    .option('--json', "print the commands, their exit codes and locate's report as JSON")
    .addHelpText(
      'after',
      '\nEach step is printed as the command that it is. Exit code: that of the first step that fails, else of locate.' +
        '\n\nExample:\n  zayascope port out/port --model zaya-f32.gguf --reference ZAYA1-8B',
    )
    .action((folder: string, options: PortCommandOptions) => runPort(folder, options, context));
}

async function runPort(folder: string, options: PortCommandOptions, context: CommandContext): Promise<void> {
  const { model, map, sequences, out, threads, noise } = options;
  const withNoise = noise === undefined ? [] : ['--noise', noise];
  const journey = new Journey(context.terminal, options.json === true);
  // Before minutes are spent: the model is read by the last steps only.
  if (!(await pathExists(join(folder, LLAMACPP_INDEX))))
    throw refusal(
      `the folder that the port wrote (with ${LLAMACPP_INDEX})`,
      folder,
      await describePlace(folder),
    );
  if (!(await pathExists(model)))
    throw refusal('the GGUF file that ran as --model', model, await describePlace(model));
  const { openModelSource } = await import('../../models/layout/source.js');
  const source = await openModelSource(model);
  const isDump = await pathExists(join(options.reference, MANIFEST));
  if (!isDump && !(await pathExists(join(options.reference, CONFIG))))
    throw refusal(
      `a dump (with ${MANIFEST}) or a checkpoint of transformers (with ${CONFIG}) as --reference`,
      options.reference,
      await describePlace(options.reference),
    );
  const inputs = [
    folder,
    model,
    options.reference,
    ...(options.config === undefined ? [] : [options.config]),
  ];
  // Of the reference it makes only what is not given.
  const made = isDump
    ? options.config === undefined
      ? [JOURNEY_FILES.config]
      : []
    : [JOURNEY_FILES.reference, JOURNEY_FILES.tokens];
  await openJourneyFolder(out, inputs, [JOURNEY_FILES.dump, JOURNEY_FILES.report, ...made]);
  const [dump, page] = [join(out, JOURNEY_FILES.dump), join(out, JOURNEY_FILES.report)];
  const config = options.config ?? (await referenceConfig(options.reference, isDump, out));
  const imported = await journey.run([
    ...['import', folder, '--map', map, '--out', dump, '--overwrite'],
    ...(config === undefined ? [] : ['--config', config]),
    ...(sequences === undefined ? [] : ['--sequences', sequences]),
  ]);
  if (imported.code !== 0) return journey.end(context, imported.code);
  await expectFit(source, dump);
  const reference = isDump ? options.reference : join(out, JOURNEY_FILES.reference);
  if (!isDump) await makeReference(options.reference, { dump, out, reference }, journey);
  const compared = await journey.run(['diff', reference, dump, ...withNoise]);
  if (compared.code > 1) return journey.end(context, compared.code);
  const located = await journey.run([
    ...['locate', reference, dump, '--model', model, ...withNoise],
    ...(threads === undefined ? [] : ['--threads', threads]),
  ]);
  if (located.code > 1) return journey.end(context, located.code);
  const reported = await journey.run([
    ...['report', reference, dump, ...withNoise, '--out', page, '--overwrite'],
  ]);
  journey.end(context, reported.code > 1 ? reported.code : located.code);
}

/** The steps: prints each as a command line, runs it in this process. */
class Journey {
  readonly #terminal: Terminal;
  readonly #json: boolean;
  #begun = false;
  readonly #steps: { command: string; code: number; result?: unknown }[] = [];

  constructor(terminal: Terminal, json: boolean) {
    this.#terminal = terminal;
    this.#json = json;
  }

  async run(args: readonly string[]): Promise<{ code: number }> {
    const { runCommandLine } = await import('../command-line.js');
    const command = ['zayascope', ...args].map(shellWord).join(' ');
    this.#show(command);
    if (!this.#json) return { code: await runCommandLine(args, this.#terminal) };
    let text = '';
    const quiet: Terminal = {
      ...this.#terminal,
      result: (part) => {
        text += part;
      },
      stream: () => {},
      notice: (part) => this.#terminal.notice(part),
    };
    const code = await runCommandLine([...args, '--json'], quiet);
    const keeps = args[0] === 'locate' && text !== '';
    this.#steps.push({ command, code, result: keeps ? (JSON.parse(text) as unknown) : undefined });
    return { code };
  }

  /** A step that is another program. */
  async runProgram(program: string, args: readonly string[]): Promise<void> {
    const command = [program, ...args].map(shellWord).join(' ');
    this.#show(command);
    try {
      const { stdout } = await promisify(execFile)(program, [...args], { maxBuffer: 2 ** 26 });
      if (this.#json) this.#steps.push({ command, code: 0 });
      else this.#terminal.result(stdout.trimEnd());
    } catch (cause) {
      const { stderr = '', message } = cause as Error & { stderr?: string };
      throw unmet(
        'IO',
        'port',
        `the reference's dump of ${program}`,
        stderr.trim().split('\n').at(-1) || message,
        {
          where: 'npx zayascope doctor says what is installed; --reference takes a dump made elsewhere',
          cause,
        },
      );
    }
  }

  end({ exitWith }: CommandContext, code: number): void {
    if (this.#json) this.#terminal.result(toJson({ steps: this.#steps, code }));
    if (code !== 0) exitWith(code === 1 || code === 130 || code === 143 ? code : 2);
  }

  #show(command: string): void {
    if (!this.#json) this.#terminal.result(`${this.#begun ? '\n' : ''}$ ${command}`);
    this.#begun = true;
  }
}

/** The model's config: of a checkpoint its file, of a dump what its manifest holds. */
async function referenceConfig(reference: string, isDump: boolean, out: string): Promise<string | undefined> {
  if (!isDump) return join(reference, CONFIG);
  const { Dump } = await import('../../dump/reader.js');
  await using dump = await Dump.open(reference);
  const { config } = dump.manifest.model;
  if (config === undefined || Object.keys(config).length === 0) return undefined;
  const own = join(out, JOURNEY_FILES.config);
  await writeTextAtomically('port', own, JSON.stringify(config));
  return own;
}

/**
 * Runs `dump.py` of this package on the ids of the imported dump, in the calls in which the port ran them.
 */
async function makeReference(
  checkpoint: string,
  { dump: folder, out, reference }: { dump: string; out: string; reference: string },
  journey: Journey,
): Promise<void> {
  const { Dump } = await import('../../dump/reader.js');
  const tokens = join(out, JOURNEY_FILES.tokens);
  await using dump = await Dump.open(folder);
  const sequences = dump.manifest.sequences.map((sequence) => sequence.tokens ?? []);
  const [first] = sequences;
  const ids = sequences.length === 1 ? { tokens: first } : { sequences };
  await writeTextAtomically('port', tokens, JSON.stringify(ids));
  const steps = await callSizes(dump);
  const python = process.env.ZAYASCOPE_PYTHON ?? join(ROOT, '.venv', 'bin', 'python');
  await journey.runProgram(python, [
    join(ROOT, 'dumps', 'reference', 'dump.py'),
    ...[
      '--model',
      checkpoint,
      '--tokens-file',
      tokens,
      '--dtype',
      'float32',
      ...(steps === undefined ? [] : ['--steps', steps]),
      '--out',
      reference,
      '--overwrite',
    ],
  ]);
}

/**
 * The forward calls of the port, so that the reference leaves its states where the port does: they are
 * compared then. Undefined for several sequences, which the reference runs as one padded batch.
 */
async function callSizes(dump: DumpView): Promise<string | undefined> {
  if (dump.manifest.sequences.length !== 1) return undefined;
  const { dumpCalls } = await import('../../locate/replay/calls.js');
  return (await dumpCalls(dump)).map(({ tokens }) => tokens.length).join();
}

/** Before the reference is made, which takes longest. */
async function expectFit(source: ModelSource, folder: string): Promise<void> {
  const { requireModelFit } = await import('../../locate/model-fit.js');
  const { Dump } = await import('../../dump/reader.js');
  await using dump = await Dump.open(folder);
  requireModelFit('port', source, dump);
}

function refusal(expected: string, path: string, got: string): ZayascopeError {
  return unmet('IO', 'port', expected, got, { where: path });
}
