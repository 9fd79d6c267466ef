import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
// @ts-expect-error: a script without types
import { COLUMNS, commentedFiles, longComments, wrapComments } from '../scripts/wrap-comments.mjs';

const root = join(import.meta.dirname, '..');
const long = `${'word '.repeat(30).trim()}`;

describe('comments', () => {
  it(`wrap at ${COLUMNS} columns: \`npm run format\` does it`, () => {
    const files = commentedFiles() as string[];
    expect(files.length).toBeGreaterThan(500);
    const tooLong = files.flatMap((file) =>
      (longComments(readFileSync(join(root, file), 'utf8')) as number[]).map((line) => `${file}:${line}`),
    );
    expect(tooLong).toEqual([]);
  });

  it('of one line become a block, and what is left of a line goes on in the next', () => {
    const half = long.slice(0, 104);
    expect(wrapComments(`  /** ${long} */\n  const x = 1;`)).toBe(
      `  /**\n   * ${half}\n   * ${long.slice(105)}\n   */\n  const x = 1;`,
    );
    expect(wrapComments(`// ${long}\n// more of it.\nx();`)).toBe(
      `// ${long.slice(0, 104)}\n// ${long.slice(105)} more of it.\nx();`,
    );
  });

  it('keep lists, tags and tables apart, and code between backquotes whole', () => {
    const code = `${long.slice(0, 99)} \`two words\` end`;
    expect(wrapComments(`// - ${long}\n// - second`).split('\n')).toEqual([
      `// - ${long.slice(0, 104)}`,
      `//   ${long.slice(105)}`,
      '// - second',
    ]);
    expect(wrapComments(` * ${long}\n * @throws it`).split('\n').at(-1)).toBe(' * @throws it');
    expect(wrapComments(`// ${code}`).split('\n')[1]).toBe('// `two words` end');
    const table = `// | ${long} | ${long} |`;
    expect(wrapComments(table)).toBe(table);
    expect(longComments(`// ${long}\nconst url = 'https://${'x'.repeat(120)}'; // short`)).toEqual([1]);
  });
});
