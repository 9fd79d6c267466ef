/** The package installed into an environment of its own, and its command line. */
import { execFileSync, spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Dump } from '../../src/dump/reader.js';
import { pythonPath, root } from '../reference/python.js';

let folder: string;
let python: string;
const tiny = join(root, 'dumps', 'tiny', 'model');

/** Runs the environment's Python in an empty folder, where nothing of the checkout is found. */
function run(...args: string[]): { status: number | null; stdout: string; stderr: string } {
  const { status, stdout, stderr } = spawnSync(python, args, {
    cwd: join(folder, 'empty'),
    env: { ...process.env, OMP_NUM_THREADS: '1', PYTHONPATH: '' },
    encoding: 'utf8',
  });
  return { status, stdout, stderr };
}

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'zayascope-install-'));
  mkdirSync(join(folder, 'empty'));
  const environment = join(folder, 'env');
  execFileSync(pythonPath(), ['-m', 'venv', '--without-pip', environment]);
  python = join(environment, 'bin', 'python');
  const options = ['install', '--quiet', '--no-deps', '--no-index', '--disable-pip-version-check'];
  execFileSync(
    pythonPath(),
    ['-m', 'pip', '--python', python, ...options, '--no-build-isolation', join(root, 'python')],
    { stdio: 'pipe' },
  );
  // The user's torch and pyarrow: those of the tests' environment.
  const asked = 'import sysconfig; print(sysconfig.get_path("purelib"))';
  const packages = execFileSync(pythonPath(), ['-c', asked], { encoding: 'utf8' }).trim();
  const own = execFileSync(python, ['-c', asked], { encoding: 'utf8' }).trim();
  writeFileSync(join(own, 'theirs.pth'), packages);
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

describe('pip install ./python', () => {
  it('installs the whole package, types included, and nothing else', () => {
    const code = `
import importlib.metadata, pathlib, zayascope
files = [str(file) for file in importlib.metadata.files("zayascope") if "__pycache__" not in str(file)]
print(zayascope.__file__)
print(sorted(file for file in files if "dist-info" not in file))
print(importlib.metadata.version("zayascope"), zayascope.__version__)`;
    const { status, stdout, stderr } = run('-c', code);
    expect({ status, stderr }).toEqual({ status: 0, stderr: '' });
    const [file, files, versions] = stdout.trim().split('\n') as [string, string, string];
    expect(file.startsWith(join(folder, 'env'))).toBe(true);
    expect(files).toContain("'zayascope/py.typed'");
    expect(files).toContain("'zayascope/recording/capture.py'");
    const { version } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as { version: string };
    expect(versions).toBe(`${version} ${version}`);
    expect(existsSync(join(root, 'python', 'build'))).toBe(false);
  });

  it('has a command that dumps a language model from disk, and logits equal to an unwatched run', async () => {
    const out = join(folder, 'tiny');
    const { status, stdout, stderr } = run(
      ...[
        '-m',
        'zayascope',
        'dump',
        '--model',
        tiny,
        '--prompt',
        '[Monday 04:',
        '--out',
        out,
        '--decode',
        '1',
      ],
    );
    expect({ status, stderr }).toEqual({
      status: 0,
      // transformers 5.18 overwrites a value of every router while it loads
      stderr: expect.stringMatching(/^8 tensors were changed by loading and set back/),
    });
    expect(stdout).toMatch(/^\S+tiny: \d{3} taps of 12 tokens and 1 decoded, float32\n$/);
    await using dump = await Dump.open(out);
    const { producer, model, roles, sequences, policy } = dump.manifest;
    await using reference = await Dump.open(join(root, 'dumps', 'tiny', 'reference-float32'));
    expect(producer).toMatchObject({ name: 'transformers', logitsEqualUnwatched: true, attention: 'eager' });
    expect(model).toEqual(reference.manifest.model);
    expect(policy.name).toBe('transformers-float32');
    // a token that starts every text, the bytes, and the one that was decoded
    expect(sequences).toEqual([
      { tokens: [expect.any(Number), ...Buffer.from('[Monday 04:'), expect.any(Number)] },
    ]);
    expect(roles).toMatchObject({ logits: ['return.logits'] });
    expect(roles!.residual).toHaveLength(8);
  });

  it('has a command that compares and one that lists, without torch', () => {
    const [f32, bf16] = ['float32', 'bfloat16'].map((dtype) =>
      join(root, 'dumps', 'tiny', `reference-${dtype}`),
    );
    expect(run('-m', 'zayascope', 'diff', f32!, f32!, '--fail-above', '0')).toMatchObject({ status: 0 });
    const worse = run('-m', 'zayascope', 'diff', f32!, bf16!, '--taps', 'lm_head', '--fail-above', '1e-6');
    expect(worse).toMatchObject({ status: 1, stderr: '' });
    expect(worse.stdout).toMatch(
      /^lm_head +F32\/BF16 +56 +3\.2e-04 .*\n *FAIL {2}energy NMSE at most 1e-06$/m,
    );
    const shown = run('-m', 'zayascope', 'show', bf16!, '--taps', 'lm_head,layers.0');
    expect(shown.stdout.split('\n').slice(1)).toEqual([
      'layers.0  F32 [128] per token',
      'lm_head  BF16 [259] per token',
      '',
    ]);
  });

  it('refuses bad input with a sentence and code 2', () => {
    const bad = (...args: string[]) => run('-m', 'zayascope', ...args);
    expect(bad('show', folder)).toMatchObject({
      status: 2,
      stderr: expect.stringMatching(/expected a manifest\.json/),
    });
    const dump = ['dump', '--model', tiny, '--out', join(folder, 'x')];
    expect(bad(...dump, '--tokens', '1,x')).toMatchObject({
      status: 2,
      stderr: expect.stringMatching(/expected integers/),
    });
    expect(existsSync(join(folder, 'x'))).toBe(false);
  });
});
