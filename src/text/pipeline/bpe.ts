import * as tokenizers from '@huggingface/tokenizers';
import { Step } from './step.js';

/** The library's own declarations do not resolve under `nodenext`. */
const { BPE } = tokenizers as unknown as { BPE: new (model: object) => { bpe(word: string): string[] } };
const utf8 = new TextEncoder();

/** Ids of a word; `undefined` for a letter that has no token. */
export type Bpe = (word: string) => (number | undefined)[];

/**
 * The model of a tokenizer.json. The library joins the letters; what has no token is spelled as bytes or
 * unknown as `tokenizers` does it.
 *
 * @throws `BAD_CONFIG` for options that are malformed or not supported.
 */
export function makeBpe(
  model: Readonly<Record<string, unknown>>,
  vocabulary: ReadonlyMap<string, number>,
  source: string,
): Bpe {
  const step = new Step({ ...model, type: 'BPE' }, 'model', source);
  for (const name of ['dropout', 'continuing_subword_prefix', 'end_of_word_suffix']) {
    const value = step.field(name);
    if (value !== undefined && value !== null && value !== '' && value !== 0)
      throw step.bad(`a BPE model without ${name}`, value);
  }
  const [fallsBack, fuses] = [step.flag('byte_fallback', false), step.flag('fuse_unk', false)];
  const ignoresMerges = step.flag('ignore_merges', false);
  const unknownToken = step.field('unk_token') ?? null;
  const unknown = unknownToken === null ? undefined : vocabulary.get(step.text('unk_token'));
  const library = new BPE({ ...model, end_of_word_suffix: undefined });
  return (word) => {
    const whole = ignoresMerges ? vocabulary.get(word) : undefined;
    if (whole !== undefined) return [whole];
    const ids: (number | undefined)[] = [];
    let wasUnknown = false;
    for (const token of library.bpe(word)) {
      const id = vocabulary.get(token);
      const spelled = id === undefined && fallsBack ? bytesOf(token, vocabulary) : undefined;
      const isUnknown = id === undefined && spelled === undefined;
      if (!isUnknown) ids.push(...(spelled ?? [id]));
      else if (!(fuses && wasUnknown && unknown !== undefined)) ids.push(unknown);
      wasUnknown = isUnknown;
    }
    return ids;
  };
}

function bytesOf(token: string, vocabulary: ReadonlyMap<string, number>): number[] | undefined {
  const ids = Array.from(utf8.encode(token), (byte) =>
    vocabulary.get(`<0x${byte.toString(16).toUpperCase().padStart(2, '0')}>`),
  );
  return ids.every((id) => id !== undefined) ? ids : undefined;
}
