/** The packed library, installed where there is Node and nothing else: no compiler, no CMake, no git. */
import { spawnSync } from 'node:child_process';
import {
  mkdirSync,
  mkdtempSync,
  readdirSync,
  realpathSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';

const ROOT = join(import.meta.dirname, '..');
const folder = mkdtempSync(join(tmpdir(), 'zayascope-install-'));
const project = join(folder, 'project');
const installed = join(project, 'node_modules', 'zayascope');
const tiny = join(installed, 'dumps', 'tiny');
afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** npm's own settings (registry, cache) stay as they are. */
const { HOME, ...others } = process.env;
const npmSettings = Object.fromEntries(Object.entries(others).filter(([name]) => /^npm_config_/i.test(name)));
const bare = { HOME, PATH: join(folder, 'bin'), ...npmSettings };

function run(command: string, ...args: string[]) {
  const { status, stdout, stderr } = spawnSync(command, args, { cwd: project, env: bare, encoding: 'utf8' });
  return { status, stdout, text: `${stdout}${stderr}` };
}
const zayascope = (...args: string[]) => run('npx', 'zayascope', ...args);

beforeAll(() => {
  mkdirSync(bare.PATH);
  mkdirSync(project);
  writeFileSync(join(project, 'package.json'), '{"name":"empty","version":"1.0.0"}');
  const found = (name: string) =>
    (process.env.PATH ?? '').split(delimiter).flatMap((place) => {
      try {
        return [realpathSync(join(place, name))];
      } catch {
        return [];
      }
    })[0]!;
  for (const name of ['node', 'npm', 'npx', 'sh', 'env']) symlinkSync(found(name), join(bare.PATH, name));
  const packed = spawnSync(process.execPath, ['scripts/package.mjs', '--pack-destination', folder], {
    cwd: ROOT,
    encoding: 'utf8',
  });
  expect(packed.status, packed.stderr).toBe(0);
  const tarball = readdirSync(folder).find((name) => name.endsWith('.tgz'))!;
  const install = run('npm', 'install', '--no-audit', '--no-fund', '--prefer-offline', join(folder, tarball));
  expect(install.status, install.text).toBe(0);
});

it('captures with the addon that the package brings', () => {
  const { status, text } = zayascope(
    ...['capture', '--model', join(tiny, 'model'), '--tokens', '5,17,9', '--out', 'out/run'],
  );
  expect(status, text).toBe(0);
  expect(text).toContain('complete, tier full');
  expect(zayascope('doctor').text).toMatch(/native addon +ok/);
  expect(readdirSync(join(installed, 'native'))).not.toContain('build');
});

it('installs without an addon too, says what works then, and that works', () => {
  renameSync(join(installed, 'prebuilds'), join(installed, 'kept'));
  try {
    const install = run('node', join(installed, 'native', 'install.mjs'));
    expect(install.status, install.text).toBe(0);
    expect(install.text).toContain('installed without the addon (the package has none for');
    const [reference, tested] = ['reference-float32', 'reference-bfloat16'].map((name) => join(tiny, name));
    expect(zayascope('diff', reference!, tested!).text).toContain('372 taps compared, 13 identical');
    expect(zayascope('verify-logits', reference!, tested!).status).toBe(0);
    expect(zayascope('report', reference!, tested!, '--out', 'report.html').status).toBe(0);
    expect(zayascope('export', tested!, '--out', 'out/all.safetensors').text).not.toContain('BACKEND');
    expect(zayascope('inspect', join(tiny, 'model')).status).toBe(0);
    const capture = zayascope(
      'capture',
      '--model',
      join(tiny, 'model'),
      '--tokens',
      '5',
      '--out',
      'out/none',
    );
    expect(capture.status).toBe(2);
    expect(capture.text).toContain('run `npm rebuild zayascope`');
    expect(zayascope('doctor').text).toMatch(/native addon +broken[\s\S]*npm rebuild zayascope/);
  } finally {
    renameSync(join(installed, 'kept'), join(installed, 'prebuilds'));
  }
});

it('fails in a checkout whose addon cannot be built', () => {
  writeFileSync(join(installed, 'tsconfig.json'), '{}');
  const { status, text } = run('node', join(installed, 'native', 'install.mjs'));
  rmSync(join(installed, 'tsconfig.json'));
  expect(text).toContain('the native addon was not built');
  expect(status).toBe(1);
});
