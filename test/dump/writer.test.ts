import { rmSync } from 'node:fs';
import { it } from 'vitest';
import { writeSampleDump } from './dump-fixture.js';

it('writes', async () => {
  rmSync('/tmp/sd', { recursive: true, force: true });
  await writeSampleDump('/tmp/sd');
});
