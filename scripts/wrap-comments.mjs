// Wraps comments at 110 columns, where biome wraps code: `npm run format` runs it. Tables, code blocks and
// what has no blank to break at stay.
import { execFileSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

/** Columns of a line, its indent included. */
export const COLUMNS = 110;

const ROOT = fileURLToPath(new URL('..', import.meta.url));
const ONE_LINE = /^(\s*)\/\*\*? (.*) \*\/$/;
const BODY = /^(\s*(?:\/\/\/?|\*)) (\s*\S.*)$/;
/** What begins a line of its own: a list, a tag, a table, a heading, another comment's directive. */
const OWN_LINE = /^\s*(?:[-*+|@#<]|```|\d+[.)] |biome-ignore|eslint|\S+:$)/;

/** Files whose comments are held to the width. */
export function commentedFiles() {
  const listed = execFileSync('git', ['ls-files', '-z', '*.ts', '*.mjs', '*.cc', '*.h'], {
    cwd: ROOT,
    encoding: 'utf8',
  });
  return listed.split('\0').filter((file) => file !== '' && !file.startsWith('dumps/llamacpp/'));
}

/** A file's text with long comments wrapped. */
export function wrapComments(text) {
  const lines = text.split('\n').flatMap((line) => {
    const single = line.length > COLUMNS ? ONE_LINE.exec(line) : null;
    if (single === null) return [line];
    const opening = line.trimStart().startsWith('/**') ? '/**' : '/*';
    return [`${single[1]}${opening}`, `${single[1]} * ${single[2]}`, `${single[1]} */`];
  });
  const out = [];
  for (let at = 0; at < lines.length; at++) {
    const line = lines[at];
    const found = line.length > COLUMNS ? BODY.exec(line) : null;
    if (found === null || /^\s*\|/.test(found[2])) {
      out.push(line);
      continue;
    }
    const [, lead, words] = found;
    const isItem = /^\s*(?:[-*+]|\d+[.)]) /.exec(words)?.[0].length ?? /^\s*/.exec(words)[0].length;
    const rest = breakWords(words, COLUMNS - lead.length - 1, ' '.repeat(isItem));
    const last = rest.pop();
    out.push(...rest.map((each) => `${lead} ${each}`));
    // What is left goes on in the next line where that is the same paragraph.
    const next = lines[at + 1] === undefined ? null : BODY.exec(lines[at + 1]);
    const goesOn =
      rest.length > 0 &&
      next !== null &&
      next[1] === lead &&
      !OWN_LINE.test(next[2]) &&
      (next[2].length - next[2].trimStart().length === isItem || !/^\s{2,}/.test(next[2]));
    if (goesOn) lines[at + 1] = `${lead} ${last} ${next[2].trim()}`;
    else out.push(`${lead} ${last}`);
  }
  return out.join('\n');
}

/** Numbers of the lines whose comment is too long; a word that is longer than a line is none. */
export function longComments(text) {
  return text.split('\n').flatMap((line, at) => {
    if (line.length <= COLUMNS) return [];
    const comment = /^\s*(?:\/\/|\/?\*)/.test(line) ? line : (/\s\/\/ .*$/.exec(line)?.[0] ?? '');
    return comment !== '' && wrapComments(line) !== line ? [at + 1] : [];
  });
}

/**
 * Text in lines of at most `width`; those after the first begin with `indent`. Code between backquotes stays
 * whole.
 */
function breakWords(text, width, indent) {
  const words = text.trimEnd().match(/\s*(?:`[^`]*`|[^\s`])+/g) ?? [text];
  const lines = [''];
  for (const word of words) {
    const line = lines.at(-1);
    if (line !== '' && line.length + word.length > width) lines.push(`${indent}${word.trimStart()}`);
    else lines[lines.length - 1] = line + word;
  }
  return lines;
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  for (const file of commentedFiles()) {
    const text = readFileSync(`${ROOT}/${file}`, 'utf8');
    const wrapped = wrapComments(text);
    if (wrapped !== text) writeFileSync(`${ROOT}/${file}`, wrapped);
  }
}
