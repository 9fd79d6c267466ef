/** Reads what it is told to, in a process of its own, and says what became of it. */
import { READERS } from './readers.mjs';

// A promise that nobody awaits would end the process: it is an outcome like any other.
process.on('uncaughtException', (error) => answer({ bug: String(error?.stack ?? error) }));
process.on('unhandledRejection', (error) => answer({ bug: String(error?.stack ?? error) }));

let current;
function answer(outcome) {
  process.send?.({ number: current, ...outcome });
}

/** Errors that this library makes; any other is a bug. */
function outcomeOf(error) {
  if (error?.name === 'ZayascopeError' && typeof error.code === 'string' && error.message.length < 4000)
    return { error: { code: error.code, message: error.message } };
  return { bug: String(error?.stack ?? error) };
}

process.on('message', async ({ number, kind, path }) => {
  current = number;
  try {
    answer({ values: await READERS[kind](path) });
  } catch (error) {
    answer(outcomeOf(error));
  }
});
process.send({ ready: true });
