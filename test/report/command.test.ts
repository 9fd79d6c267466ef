import { cpSync, existsSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { runCommand } from '../cli/run-command.js';
import { temporaryFolder } from '../dump/dump-fixture.js';

const TINY = join(import.meta.dirname, '..', '..', 'dumps', 'tiny');
const REFERENCE = join(TINY, 'reference-float32');
const BFLOAT16 = join(TINY, 'reference-bfloat16');

it('writes a page and says what it shows', async () => {
  const out = join(temporaryFolder(), 'report.html');
  const { code, stdout } = await runCommand([
    'report',
    REFERENCE,
    BFLOAT16,
    '--out',
    out,
    '--title',
    'A <b>title</b>',
  ]);
  expect(code).toBe(0);
  expect(stdout).toContain('NOT JUDGED  ');
  expect(stdout).toContain('of 372 of 372 taps');
  const html = readFileSync(out, 'utf8');
  expect(html).toContain('<h1>A &lt;b&gt;title&lt;/b&gt;</h1>');
  expect(html).toContain(`zayascope diff ${REFERENCE} ${BFLOAT16} --all`);
});

it('ends with 1 where the diff does, and prints JSON', async () => {
  const out = join(temporaryFolder(), 'report.html');
  const { code, stdout } = await runCommand([
    'report',
    REFERENCE,
    BFLOAT16,
    '--out',
    out,
    '--fail-above',
    '1e-10',
    '--json',
  ]);
  expect(code).toBe(1);
  expect(JSON.parse(stdout)).toMatchObject({
    out,
    outcome: 'FAIL',
    pass: false,
    taps: 372,
    tensorTaps: 372,
    sizeBytes: statSync(out).size,
  });
});

it('shows the noise floor, and with a model what every op errs by itself', async () => {
  const out = join(temporaryFolder(), 'report.html');
  const again = join(temporaryFolder(), 'again');
  cpSync(BFLOAT16, again, { recursive: true });
  const { code, stdout } = await runCommand([
    'report',
    REFERENCE,
    again,
    '--out',
    out,
    '--noise-floor',
    BFLOAT16,
    '--model',
    join(TINY, 'model'),
  ]);
  expect(code).toBe(0);
  expect(stdout).toContain('0 of 356 taps beyond the noise floor');
  const html = readFileSync(out, 'utf8');
  expect(html).toContain('"label":"own error"');
  expect(html).toContain('"label":"noise NMSE"');
});

it('replaces a file only when told to, and writes nothing where a dump cannot be read', async () => {
  const folder = temporaryFolder();
  const out = join(folder, 'report.html');
  expect((await runCommand(['report', REFERENCE, join(folder, 'none'), '--out', out])).code).toBe(2);
  expect(existsSync(out)).toBe(false);
  const nowhere = await runCommand([
    'report',
    REFERENCE,
    BFLOAT16,
    '--out',
    join(folder, 'none', 'report.html'),
  ]);
  expect(nowhere.stderr).toContain('IO: report: expected a file in a folder that exists');
  expect((await runCommand(['report', REFERENCE, BFLOAT16, '--out', out])).code).toBe(0);
  const again = await runCommand(['report', REFERENCE, BFLOAT16, '--out', out]);
  expect(again.code).toBe(2);
  expect(again.stderr).toContain('IO: report: expected a file that does not exist (--overwrite replaces it)');
  expect((await runCommand(['report', REFERENCE, BFLOAT16, '--out', out, '--overwrite'])).code).toBe(0);
});
