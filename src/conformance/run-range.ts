import { openBackend } from '../graph/backend.js';
import type { ChildJob, ChildMessage } from './in-children.js';
import { selectCases } from './options.js';
import { type ComputeCase, computeOnDevice, runCase } from './run-case.js';

/**
 * Runs the cases of a job in this process and reports the device first, then each outcome. Throws what
 * opening the device or a case throws.
 */
export async function runRange(
  { selection, backend: name, strictF32, start, end }: ChildJob,
  report: (message: ChildMessage) => void | Promise<void>,
  compute: ComputeCase = computeOnDevice,
): Promise<void> {
  const cases = await selectCases(selection);
  using backend = openBackend(name, { threads: 1, strictF32 }); // waking a second thread costs more than these ops
  const { device, environment } = backend;
  await report({
    device: {
      name: device.name,
      description: device.description,
      strictF32: backend.strictF32,
      environment,
    },
  });
  for (const [index, test] of cases.entries())
    if (index >= start && index < end)
      await report({ index, outcome: await runCase(backend, test, compute) });
}
