import type { TextTokenizer } from './tokenizer.js';

const REPLACEMENT = '\u{fffd}';

/**
 * Turns tokens into text one at a time. A character may span tokens: its text is held back until it is whole,
 * so the pieces together are what decoding all tokens at once gives.
 */
export class TextStream {
  readonly #tokenizer: TextTokenizer;
  /**
   * The tokens of the latest piece: they decide how the next ones decode (leading blanks, for some
   * tokenizers).
   */
  #context: readonly number[] = [];
  #pending: number[] = [];

  constructor(tokenizer: TextTokenizer) {
    this.#tokenizer = tokenizer;
  }

  /** Takes a token and gives the text that is now certain, often ''. */
  push(token: number): string {
    this.#pending.push(token);
    const text = this.#text();
    return text.endsWith(REPLACEMENT) ? '' : this.#take(text);
  }

  /** The text still held back. */
  end(): string {
    return this.#take(this.#text());
  }

  #text(): string {
    const before = this.#tokenizer.decode(this.#context);
    return this.#tokenizer.decode([...this.#context, ...this.#pending]).slice(before.length);
  }

  #take(text: string): string {
    if (this.#pending.length > 0) this.#context = this.#pending;
    this.#pending = [];
    return text;
  }
}
