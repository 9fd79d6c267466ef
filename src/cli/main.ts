#!/usr/bin/env node
import { runCommandLine } from './command-line.js';
import { processTerminal } from './terminal.js';

// A reader that has seen enough (`| head`) closes the pipe: that is no failure.
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code !== 'EPIPE') throw error;
  process.exit();
});

// The process ends by itself once its output is flushed; `process.exit` would cut a pipe short.
runCommandLine(process.argv.slice(2), processTerminal()).then((code) => {
  process.exitCode = code;
});
