import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { cpSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout } from 'node:timers/promises';
import { describe, expect, it } from 'vitest';
import { type ChatMessage, renderChatTemplate } from '../../src/text/chat-template.js';
import { promptTokensInWorker } from '../../src/text/prompt-in-worker.js';
import { promptTokens, type TextPrompt } from '../../src/text/token-source.js';
import { runCommand } from '../cli/run-command.js';
import { temporaryFolder } from '../weights/fixtures.js';

const tiny = join(import.meta.dirname, '..', '..', 'dumps', 'tiny', 'model');

/** The tiny model's tokenizer with another pre-tokenizer before its own, or a chat template. */
async function tokenizerWith(regex: string | undefined, template = '{{ messages }}'): Promise<string> {
  const folder = await temporaryFolder();
  cpSync(join(tiny, 'tokenizer_config.json'), join(folder, 'tokenizer_config.json'));
  const json = JSON.parse(readFileSync(join(tiny, 'tokenizer.json'), 'utf8'));
  const split = { type: 'Split', pattern: { Regex: regex }, behavior: 'Isolated', invert: false };
  if (regex !== undefined)
    json.pre_tokenizer = { type: 'Sequence', pretokenizers: [split, json.pre_tokenizer] };
  writeFileSync(join(folder, 'tokenizer.json'), JSON.stringify(json));
  writeFileSync(join(folder, 'chat_template.jinja'), template);
  return folder;
}

/** 48 of them keep `(a+)+$` busy for days. */
const HARD = `${'a'.repeat(48)}!`;

describe('a prompt in a worker', () => {
  it('has the ids of one in this thread', async () => {
    const { text, tokens } = JSON.parse(readFileSync(join(tiny, '..', 'prompt.json'), 'utf8'));
    expect(await promptTokensInWorker(tiny, { text })).toEqual({
      tokens,
      added: { before: [257], after: [] },
    });
  });

  it('ends a regular expression that does not', async () => {
    const folder = await tokenizerWith('(a+)+$');
    await expect(promptTokensInWorker(folder, { text: HARD }, { timeoutMs: 300 })).rejects.toMatchObject({
      code: 'BAD_CONFIG',
      message: expect.stringContaining('300 ms'),
    });
    expect((await promptTokensInWorker(folder, { text: 'aab' })).tokens).toHaveLength(4);
  });

  it('ends when it is cancelled', async () => {
    const folder = await tokenizerWith('(a+)+$');
    const controller = new AbortController();
    const made = promptTokensInWorker(folder, { text: HARD }, { signal: controller.signal });
    globalThis.setTimeout(() => controller.abort(), 200);
    await expect(made).rejects.toMatchObject({ code: 'CANCELLED' });
  });

  it('passes errors on as they are', async () => {
    await expect(promptTokensInWorker(join(tiny, 'absent'), { text: 'a' })).rejects.toMatchObject({
      code: 'IO',
    });
    const folder = await tokenizerWith(undefined, "{{ raise_exception('no system role') }}");
    await expect(promptTokensInWorker(folder, { text: 'a', chat: true })).rejects.toMatchObject({
      code: 'BAD_CONFIG',
      message: expect.stringContaining('no system role'),
    });
  });
});

describe('a template that does not end, or grows without end', () => {
  it.each([
    ['a huge range', '{% for i in range(1000000000) %}{% endfor %}', 'Range too big'],
    ['nested loops', `${'{% for i in range(99999) %}'.repeat(4)}x${'{% endfor %}'.repeat(4)}`, 'steps'],
    ['a macro that calls itself', '{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}', 'nested'],
    [
      'a text that doubles',
      "{% set n = namespace(t='xxxxxxxx') %}{% for i in range(60) %}{% set n.t = n.t + n.t %}{% endfor %}",
      'letters',
    ],
    [
      'a list that doubles',
      '{% set n = namespace(t=[1]) %}{% for i in range(60) %}{% set n.t = n.t + n.t %}{% endfor %}',
      'items',
    ],
    ['a repeated text', "{{ 'x' * 10000000000 }}", 'letters'],
    ['a repeated list', '{{ [1] * 10000000000 }}', 'steps'],
    ['a padded text', "{{ 'x'.ljust(10000000000) }}", '1,000,000'],
    ['deep nesting', `{{ ${'['.repeat(100_000)}${']'.repeat(100_000)} }}`, 'nested too deeply'],
    ['many signs', `{{ ${'- '.repeat(100_000)}1 }}`, 'nested too deeply'],
    ['many blocks', `${'{% if true %}'.repeat(20_000)}x${'{% endif %}'.repeat(20_000)}`, 'nested too deeply'],
    ['a million letters', 'x'.repeat(1_100_000), 'letters'],
  ])('is an error: %s', (_what, template, got) => {
    const messages = [{ role: 'user', content: 'a' }] as const;
    expect(() => renderChatTemplate(template, messages, {}, 'x')).toThrow(
      expect.objectContaining({ code: 'BAD_CONFIG', message: expect.stringContaining(got) }),
    );
  });
});

describe('messages that are no plain texts', () => {
  /** As a caller without types may pass them. */
  const render = (template: string, messages: unknown) =>
    renderChatTemplate(template, messages as ChatMessage[], {}, 'x');
  let deep: unknown = 'a';
  for (let depth = 0; depth < 10_000; depth++) deep = [deep];
  const cyclic: Record<string, unknown> = {};
  cyclic.self = cyclic;

  it('are values like others', () => {
    const messages = [{ role: 'user', content: [{ type: 'text', text: 'a' }, null, 1.5] }];
    expect(render('{{ messages[0].content }}', messages)).toBe("[{'type': 'text', 'text': 'a'}, None, 1.5]");
    expect(render('{{ messages[0].content[0].text }}', messages)).toBe('a');
    expect(render('{{ messages }}', null)).toBe('None');
  });

  it.each([
    ['nested 10,000 deep', [{ role: 'user', content: deep }], '{{ messages }}', 'nested deeper'],
    ['of themselves', [cyclic], '{{ messages | tojson }}', 'nested deeper'],
    ['functions', [{ role: 'user', content: () => 1 }], '{{ messages }}', 'a value of type function'],
    [
      'null where a text is added',
      [{ role: 'user', content: null }],
      "{{ 'a' + messages[0].content }}",
      "'str' and 'NoneType'",
    ],
    ['no list', 5, '{% for m in messages %}{% endfor %}', "'int' object is not iterable"],
  ])('are an error where they are %s', (_what, messages, template, got) => {
    expect(() => render(template, messages)).toThrow(
      expect.objectContaining({ code: 'BAD_CONFIG', message: expect.stringContaining(got) }),
    );
  });

  it('nor are prompts', async () => {
    const prompts = [{ text: null }, { text: 'a', chat: true, system: 5 }] as unknown as TextPrompt[];
    for (const prompt of prompts)
      await expect(promptTokens(tiny, prompt)).rejects.toMatchObject({ code: 'BAD_ARGUMENT' });
  });
});

describe('the command line', () => {
  it('says what does not end, without a stack', async () => {
    const folder = await temporaryFolder();
    cpSync(tiny, folder, { recursive: true });
    writeFileSync(join(folder, 'chat_template.jinja'), '{% for i in range(1000000000) %}{% endfor %}');
    const { code, stderr } = await runCommand(['generate', '--model', folder, '--prompt', 'a', '--chat']);
    expect(code).toBe(2);
    expect(stderr).toContain('Range too big');
    expect(stderr).not.toMatch(/^\s+at /m);
  });

  it('ends at Ctrl-C while a tokenizer runs for ever', async () => {
    const folder = await tokenizerWith('(a+)+$');
    for (const name of ['config.json', 'model.safetensors']) cpSync(join(tiny, name), join(folder, name));
    const main = join(import.meta.dirname, '..', '..', 'dist', 'cli', 'main.js');
    const args = ['generate', '--model', folder, '--prompt', HARD];
    const child = spawn(process.execPath, [main, ...args], { stdio: 'ignore' });
    await setTimeout(1500); // it is in the expression by then
    expect(child.exitCode).toBeNull();
    const sent = performance.now();
    child.kill('SIGINT');
    await once(child, 'exit');
    expect(performance.now() - sent).toBeLessThan(2000);
  });
});
