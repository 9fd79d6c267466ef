/** Signals, with processes of their own. */
import { spawn } from 'node:child_process';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { expect, it } from 'vitest';

const module = join(import.meta.dirname, '..', '..', 'dist', 'cli', 'cancel-on-signal.js');

/**
 * Runs a script that waits for signals, sends it some once it is ready, and says how it ended and what it
 * printed.
 */
async function run(body: string, signals: readonly NodeJS.Signals[]) {
  const script = `
    import { cancelOnSignal } from ${JSON.stringify(module)};
    import { writeSync } from 'node:fs';
    const cancellation = cancelOnSignal();
    cancellation.signal.addEventListener('abort', () => writeSync(1, 'aborted ' + cancellation.exitCode + ' '));
    const spin = (ms) => { for (const end = Date.now() + ms; Date.now() < end; ); };
    ${body}`;
  const child = spawn(process.execPath, ['--input-type=module', '-e', script], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  let printed = '';
  let ready = () => {};
  const isReady = new Promise<void>((resolve) => {
    ready = resolve;
  });
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    printed += text;
    if (printed.includes('ready')) ready();
  });
  const ended = new Promise<string>((resolve) => {
    child.on('close', (code, signal) => resolve(signal ?? String(code)));
  });
  const started = performance.now();
  await isReady;
  for (const signal of signals) {
    // The thread that watches may still be starting.
    await sleep(1500);
    child.kill(signal);
  }
  return { ended: await ended, printed, elapsedMs: performance.now() - started };
}

const SPINNING = `writeSync(1, 'ready '); spin(60_000); writeSync(1, 'end ');`;
const WAITING = `writeSync(1, 'ready '); await new Promise((resolve) => setTimeout(resolve, 60_000));`;

it.each([
  ['SIGINT', SPINNING],
  ['SIGTERM', SPINNING],
  ['SIGINT', WAITING],
] as const)('a second %s ends a process at once, computing or waiting', async (signal, body) => {
  const { ended, printed, elapsedMs } = await run(body, [signal, signal]);
  expect(ended).toBe('SIGKILL');
  expect(printed).not.toContain('end ');
  expect(elapsedMs).toBeLessThan(30_000);
});

it('the first one cancels, and the process ends as it will', async () => {
  const body = `const alive = setInterval(() => {}, 1000);
    writeSync(1, 'ready ');
    await new Promise((resolve) => cancellation.signal.addEventListener('abort', resolve));
    clearInterval(alive);
    cancellation[Symbol.dispose]();
    process.exitCode = cancellation.exitCode;`;
  expect(await run(body, ['SIGINT'])).toMatchObject({ ended: '130', printed: 'ready aborted 130 ' });
});

it('leaves a process that no signal reaches alone, and lets it end', async () => {
  expect(await run(`writeSync(1, 'ready ');`, [])).toMatchObject({ ended: '0' });
});
