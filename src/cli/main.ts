#!/usr/bin/env node
let isLost = false;
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  // A reader that has seen enough (`| head`) closes the pipe: that is no failure.
  if (error.code === 'EPIPE') process.exit();
  // Results that could not be written (a full disk) must not look like a result, which exit codes 0 and 1
  // are.
  if (!isLost)
    process.stderr.write(
      `zayascope: IO: expected to write the results, got ${error.message.replace(/\s+/g, ' ')}\n`,
    );
  isLost = true;
  process.exitCode = 2;
});
// Without this, notices that cannot be written would end the process as an unexpected error.
process.stderr.on('error', () => {});

// What no command awaits still ends with a sentence.
process.on('uncaughtException', end);
process.on('unhandledRejection', end);

function end(error: unknown): void {
  // Loaded here, since the modules themselves may be what cannot be opened.
  import('./describe-error.js')
    .then(
      ({ describeError, errorLine }) => errorLine(describeError(error)),
      () =>
        `zayascope: IO: ${error instanceof Error ? error.message : String(error)}; raise the limit of open files (ulimit -n)\n`,
    )
    .then((line) => {
      process.stderr.write(line);
      process.exit(2);
    });
}

async function run(): Promise<void> {
  // One after the other: a process with few descriptors left cannot open all modules at once.
  const { processTerminal } = await import('./terminal.js');
  const { runCommandLine } = await import('./command-line.js');
  const code = await runCommandLine(process.argv.slice(2), processTerminal());
  // The process ends by itself once its output is flushed; `process.exit` would cut a pipe short.
  if (!isLost) process.exitCode = code;
}

run().catch(end);
