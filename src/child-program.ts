/** Programs of ours that run in a process or thread of their own. */
import { fork } from 'node:child_process';
import { fileURLToPath } from 'node:url';

/**
 * The built file of a program. Processes and threads run JavaScript: from the sources, as tests import them,
 * it is the one in `dist`.
 * @param importer `import.meta.url` of the file that starts it. @param program its path from there.
 */
export function builtProgram(importer: string, program: string): URL {
  const from = importer.endsWith('.ts') ? importer.replace(/^(.*)\/src\//, '$1/dist/') : importer;
  return new URL(program, from);
}

/** How {@link runChild} listens. */
export interface ChildOptions<Message> {
  /** A child that says nothing for so long hangs, and is ended. */
  silenceMs: number;
  /** What it throws ends the child, and is thrown. */
  onMessage: (message: Message) => void;
  /** Takes what the child writes to stderr. Default: nobody does. */
  onStderr?: (text: string) => void;
  /** Ends the child. */
  signal?: AbortSignal;
}

/**
 * Runs a program with one job in a child process, to its end.
 * @returns how it ended: `exit code 0`, the signal that ended it, `no answer in 240 s`.
 */
export function runChild<Message>(
  program: URL,
  job: object,
  { silenceMs, onMessage, onStderr, signal }: ChildOptions<Message>,
): Promise<string> {
  return new Promise((resolve, reject) => {
    const child = fork(fileURLToPath(program), {
      serialization: 'advanced',
      // Drivers write to stdout; results of a command go there.
      stdio: ['ignore', 'ignore', onStderr === undefined ? 'ignore' : 'pipe', 'ipc'],
    });
    let timer: NodeJS.Timeout | undefined;
    let isSilent = false;
    const listen = () => {
      clearTimeout(timer);
      timer = setTimeout(() => {
        isSilent = true;
        child.kill('SIGKILL');
      }, silenceMs);
    };
    listen();
    const stop = () => child.kill('SIGTERM');
    signal?.addEventListener('abort', stop, { once: true });
    if (onStderr !== undefined) child.stderr!.setEncoding('utf8').on('data', onStderr);
    child.on('message', (message) => {
      listen();
      try {
        onMessage(message as Message);
      } catch (error) {
        child.kill('SIGKILL');
        reject(error as Error);
      }
    });
    child.on('error', reject);
    child.on('close', (code, killedBy) => {
      clearTimeout(timer);
      signal?.removeEventListener('abort', stop);
      resolve(isSilent ? `no answer in ${silenceMs / 1000} s` : (killedBy ?? `exit code ${code}`));
    });
    child.send(job);
  });
}
