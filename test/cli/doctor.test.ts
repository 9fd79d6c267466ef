import { describe, expect, it } from 'vitest';
import { runCommand } from './run-command.js';

describe('zayascope doctor', () => {
  it('prints versions, devices and the state of each part', async () => {
    const { code, stdout } = await runCommand(['doctor']);
    expect(code).toBe(0);
    expect(stdout).toMatch(/^node +\d+\.\d+\.\d+$/m);
    expect(stdout).toMatch(/^ggml +\d+\.\d+/m);
    expect(stdout).toMatch(/^device +CPU: /m);
    expect(stdout).toMatch(/^native addon +ok /m);
  });

  it('gives the command for every part that is absent', async () => {
    const { stdout } = await runCommand(['doctor', '--json']);
    const { parts } = JSON.parse(stdout) as { parts: { name: string; state: string; fix?: string }[] };
    expect(parts.map(({ name }) => name)).toContain('Python reference');
    for (const { state, fix } of parts) expect(fix === undefined).toBe(state === 'ok');
  });
});
