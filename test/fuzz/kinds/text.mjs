/** Files of text: configs, tokenizers, templates, tokens, policies, name maps, states. */
import { mutateBytes } from '../mutate-bytes.mjs';
import { mutateJson } from '../mutate-json.mjs';

const json = (kind, file, { target = file, oracle, seed = kind } = {}) => ({
  kind,
  seeds: [seed],
  target,
  oracle,
  mutate: (random, files) => new Map([[file, mutateJson(random, files.get(file))]]),
});

const WORDS = [
  '{%',
  '%}',
  '{{',
  '}}',
  'for',
  'endfor',
  'if',
  'endif',
  'messages',
  '|',
  '(',
  ')',
  '[',
  ']',
  "'",
  '-',
  'range(1000000000)',
  'namespace',
  'loop',
  'raise_exception',
  '**',
  '~',
  'tojson',
  'none',
  '1e9',
  '[0]*10',
];

/** A template with words put in, taken out or swapped. */
function template(random, bytes) {
  if (random.oneIn(3)) return mutateBytes(random, bytes);
  const parts = bytes.toString('utf8').split(/(\{%|%\}|\{\{|\}\}|\s+|[()[\]|.,])/);
  const times = 1 + random.below(3);
  for (let k = 0; k < times; k++) {
    const at = random.below(parts.length);
    if (random.oneIn(3)) parts.splice(at, 1);
    else if (random.oneIn(2)) parts.splice(at, 0, ` ${random.pick(WORDS)} `);
    else parts[at] = random.pick(WORDS);
  }
  return Buffer.from(parts.join(''));
}

export const TEXT_KINDS = [
  json('config', 'config.json', { target: '.' }),
  json('tokenizer', 'tokenizer.json', { target: '.', oracle: 'tokenizer' }),
  {
    kind: 'template',
    seeds: ['template'],
    target: '.',
    oracle: 'template',
    lenient: [[/left out: would not end here/, 'the oracle has no limits of its own']],
    mutate: (random, files) =>
      new Map([['chat_template.jinja', template(random, files.get('chat_template.jinja'))]]),
  },
  json('tokens', 'tokens.json', { oracle: 'tokens' }),
  json('policy', 'policy.json'),
  json('name-map', 'map.json'),
  json('bisect-state', 'state.json'),
  json('repro', 'repro.json', { target: '.' }),
];
