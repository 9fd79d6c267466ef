// Stands in for the program of a child process: dies at case 3 unless it begins there, and always at case 5.
process.once('message', async ({ start, end }) => {
  const send = (message) => new Promise((resolve) => process.send(message, undefined, {}, resolve));
  await send({ device: { name: 'Fake0', description: 'dies', strictF32: true, environment: {} } });
  for (let index = start; index < end; index++) {
    if ((index === 3 && start !== 3) || index === 5) process.kill(process.pid, 'SIGSEGV');
    else await send({ index, outcome: { verdict: 'unsupported', reason: `case ${index}` } });
  }
  process.exit();
});
