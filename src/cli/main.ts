#!/usr/bin/env node
import { runCommandLine } from './command-line.js';
import { describeError, errorLine } from './describe-error.js';
import { processTerminal } from './terminal.js';

let isLost = false;
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  // A reader that has seen enough (`| head`) closes the pipe: that is no failure.
  if (error.code === 'EPIPE') process.exit();
  // Results that could not be written (a full disk) must not look like a result, which exit codes 0 and 1
  // are.
  if (!isLost)
    process.stderr.write(
      errorLine({ code: 'IO', message: `expected to write the results, got ${error.message}` }),
    );
  isLost = true;
  process.exitCode = 2;
});
// Without this, notices that cannot be written would end the process as an unexpected error.
process.stderr.on('error', () => {});

// What no command awaits still ends with a sentence.
process.on('uncaughtException', end);
process.on('unhandledRejection', end);

function end(error: unknown): never {
  process.stderr.write(errorLine(describeError(error)));
  process.exit(2);
}

// The process ends by itself once its output is flushed; `process.exit` would cut a pipe short.
runCommandLine(process.argv.slice(2), processTerminal()).then((code) => {
  if (!isLost) process.exitCode = code;
});
