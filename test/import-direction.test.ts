import { readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { importsOf, loadedBy, sourceFiles, sourceText } from './import-graph.js';

/**
 * Folders of `src` (`.` for the files at its top) and what each may import besides itself: dependencies point
 * one way.
 */
const ALLOWED: Record<string, readonly string[]> = {
  '.': [],
  graph: ['.', 'native.ts', 'families'],
  weights: ['.', 'native.ts', 'graph'],
  text: ['.', 'native.ts', 'weights'],
  families: ['.'],
  dump: ['.', 'weights', 'families'],
  models: ['.', 'native.ts', 'graph', 'weights', 'text', 'families'],
  capture: ['.', 'native.ts', 'graph', 'weights', 'models', 'dump', 'families'],
  diff: ['.', 'dump', 'families'],
  'weights-diff': ['.', 'native.ts', 'weights', 'models', 'dump', 'diff'],
  align: ['.', 'dump', 'diff', 'recording'],
  evaluate: ['.', 'diff'],
  locate: ['.', 'native.ts', 'graph', 'weights', 'models', 'dump', 'capture', 'diff', 'families'],
  plot: [
    '.',
    'graph',
    'models',
    'dump',
    'capture',
    'diff',
    'weights-diff',
    'locate',
    'recording',
    'families',
  ],
  report: ['.', 'graph', 'weights', 'models', 'dump', 'diff', 'locate', 'plot'],
  notebook: [
    '.',
    'graph',
    'weights',
    'text',
    'models',
    'dump',
    'capture',
    'diff',
    'weights-diff',
    'evaluate',
    'locate',
    'plot',
    'report',
  ],
  recording: ['.', 'native.ts', 'graph', 'weights', 'models', 'dump', 'capture', 'locate'],
  conformance: ['.', 'native.ts', 'graph', 'models', 'dump', 'families'],
  cli: [
    '.',
    'native.ts',
    'graph',
    'weights',
    'text',
    'models',
    'dump',
    'capture',
    'diff',
    'weights-diff',
    'evaluate',
    'locate',
    'plot',
    'report',
    'recording',
    'conformance',
    'families',
    'align',
  ],
};

function place(file: string): string {
  if (file === 'native.ts') return file;
  return file.includes('/') ? file.slice(0, file.indexOf('/')) : '.';
}

/** The entries of the package only pass names on. */
const files = sourceFiles().filter((file) => file !== 'index.ts' && !file.startsWith('entries/'));

describe('imports', () => {
  it('are found by the walker these rules stand on', () => {
    expect(files.length).toBeGreaterThan(40);
    const kinds = new Set(files.flatMap(importsOf).map(({ kind }) => kind));
    expect([...kinds].sort()).toEqual(['dynamic', 'static', 'type']);
  });

  it.each(Object.keys(ALLOWED))('of %s/ point in the allowed direction', (folder) => {
    const wrong = files
      .filter((file) => place(file) === folder)
      .flatMap(importsOf)
      .filter(({ to }) => to.endsWith('.ts'))
      .filter(({ to }) => place(to) !== folder && !ALLOWED[folder]!.includes(place(to)));
    expect(wrong).toEqual([]);
  });

  it('are none at all in the plain data of families/, but for other plain data', () => {
    const own = files.filter((file) => place(file) === 'families');
    expect(own).toContain('families/zaya.ts');
    const data = own.filter((file) => file !== 'families/roles.ts').flatMap(importsOf);
    expect(data.filter(({ to }) => place(to) !== 'families')).toEqual([]);
  });

  it('of the runtime name no family: only src/models/architectures.ts does', () => {
    const runtime = files.filter((file) => /^models\/(runtime|gguf|layout)\//.test(file));
    expect(runtime.length).toBeGreaterThan(20);
    const named = runtime.filter((file) => /zaya|qwen/i.test(sourceText(file).replaceAll(/zayascope/gi, '')));
    expect(named).toEqual([]);
  });

  it('leave values of a family named outside its own files to none', () => {
    const others = sourceFiles().filter((file) => !/^(models\/(zaya|qwen3)|families)\//.test(file));
    const read = (file: string) => readFileSync(join(import.meta.dirname, '..', 'src', file), 'utf8');
    expect(
      others.filter((file) =>
        /mlp\.gate|conv_qk|res_scale|qkv_proj|qk_norm|router_mlp|expert_keep|E\+1/.test(read(file)),
      ),
    ).toEqual([]);
  });

  it('come from folders that have a rule', () => {
    const unknown = files.filter((file) => place(file) !== 'native.ts' && !(place(file) in ALLOWED));
    expect(unknown).toEqual([]);
  });

  it('lie in rooms of at most 25 files; a command is a file', () => {
    const rooms = new Map<string, number>();
    for (const file of sourceFiles()) rooms.set(dirname(file), (rooms.get(dirname(file)) ?? 0) + 1);
    expect([...rooms].filter(([room, count]) => count > 25 && room !== 'cli/commands')).toEqual([]);
  });

  it('name existing files', () => {
    const all = new Set(sourceFiles());
    const missing = files.flatMap(importsOf).filter(({ to }) => to.endsWith('.ts') && !all.has(to));
    expect(missing).toEqual([]);
  });

  it('form no cycle at load time', () => {
    const cyclic = files.filter((file) =>
      importsOf(file).some(
        ({ to, kind }) => kind === 'static' && to.endsWith('.ts') && loadedBy(to).has(file),
      ),
    );
    expect(cyclic).toEqual([]);
  });
});

describe('the native addon', () => {
  it('is loaded by native.ts alone', () => {
    const loads = (file: string) => /native\/build|\.node\b['"`]|dlopen/.test(sourceText(file));
    expect(sourceFiles().filter(loads)).toEqual(['native.ts']);
  });

  it.each(files.filter((file) => ['dump', 'diff', 'plot', 'report'].includes(place(file))))(
    'is never reached from %s',
    (file) => {
      expect([...loadedBy(file, { dynamic: true })]).not.toContain('native.ts');
    },
  );

  it.each(
    ['diff', 'export', 'import', 'inspect-dump', 'verify-logits'].map((name) => `cli/commands/${name}.ts`),
  )('is never reached from %s', (file) => {
    expect([...loadedBy(file, { dynamic: true })]).not.toContain('native.ts');
  });

  it('is reached from cli/commands/report.ts through --model alone', () => {
    const reaching = importsOf('cli/commands/report.ts')
      .filter(({ to, kind }) => kind !== 'type' && loadedBy(to, { dynamic: true }).has('native.ts'))
      .map(({ to }) => to);
    expect(reaching).toEqual(['locate/faults/locate.ts']);
  });

  it('is not reached by starting the command line', () => {
    expect([...loadedBy('cli/main.ts')]).not.toContain('native.ts');
  });
});
