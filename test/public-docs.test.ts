import { readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { describe, expect, it } from 'vitest';

const source = join(import.meta.dirname, '..', 'src');

/** Names that an entry of the package exports itself, and the file that declares each. */
function exportsOf(entry: string): { name: string; file: string }[] {
  const text = readFileSync(join(source, entry), 'utf8');
  return [...text.matchAll(/^export (?:type )?\{([^}]*)\} from '(\.[^']+)\.js';/gm)]
    .filter(([, , from]) => !from!.includes('/entries/'))
    .flatMap(([, names, from]) =>
      names!
        .split(',')
        .map((each) => each.trim().replace(/^type /, ''))
        .filter((each) => each !== '')
        .map((each) => ({ name: each.split(' as ')[0]!, file: join(dirname(entry), `${from}.ts`) })),
    );
}

/**
 * The declaration of a name with the comment before it, also where the file passes on another's; undefined
 * where there is none.
 */
function declaration(file: string, name: string): string | undefined {
  const text = readFileSync(join(source, file), 'utf8');
  const passedOn = new RegExp(
    `^export (?:type )?\\{[^}]*\\b${name}\\b[^}]*\\} from '(\\.[^']+)\\.js';`,
    'm',
  ).exec(text);
  if (passedOn !== null) return declaration(join(dirname(file), `${passedOn[1]}.ts`), name);
  const found = new RegExp(
    `(/\\*\\*(?:(?!\\*/)[\\s\\S])*\\*/\\n)?export (?:declare |abstract |async )*(?:function\\*?|class|interface|const|type) ${name}\\b`,
  ).exec(text);
  return found?.[0];
}

const ENTRIES = ['index.ts', 'entries/format.ts', 'entries/graph.ts', 'entries/plot.ts'];
const exported = ENTRIES.flatMap(exportsOf);

describe('the public API', () => {
  it('is read in full', () => {
    for (const entry of ENTRIES) {
      const statements = readFileSync(join(source, entry), 'utf8').match(
        /^export .* from '.*'|^\} from '\.(?!.*\/entries\/).*'/gm,
      )!;
      expect(exportsOf(entry).length).toBeGreaterThanOrEqual(statements.length);
    }
    expect(exported.length).toBeGreaterThan(150);
  });

  it('documents every export', () => {
    const bare = exported.filter(({ name, file }) => !declaration(file, name)?.startsWith('/**'));
    expect(bare).toEqual([]);
  });

  it('says of every function that throws what it throws', () => {
    // The codes of errors.ts that a function names in its own body must stand in its comment, or the comment
    // refers to another function's.
    const silent = exported.filter(({ name, file }) => {
      const text = readFileSync(join(source, file), 'utf8');
      const start = new RegExp(`export (?:async )?function\\*? ${name}\\b`).exec(text)?.index;
      if (start === undefined) return false;
      const end = text.indexOf('\n}\n', start);
      const thrown = [...text.slice(start, end).matchAll(/(?:new ZayascopeError|unmet)\(\s*'(\w+)'/g)].map(
        ([, code]) => code!,
      );
      const comment = declaration(file, name) ?? '';
      return thrown.some((code) => !comment.includes(code) && !/Throws as|@throws as/i.test(comment));
    });
    expect(silent).toEqual([]);
  });
});
