import { it } from 'vitest';
import { writeSampleDump } from './dump-fixture.js';
import { rmSync } from 'node:fs';
it('writes', async () => { rmSync('/tmp/sd',{recursive:true,force:true}); await writeSampleDump('/tmp/sd'); });
