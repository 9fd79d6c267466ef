import { TemplateFault } from './values.js';

/** What a template may use. Real ones take a few thousand steps. */
const MAX_STEPS = 2_000_000;
const MAX_LETTERS = 64 * 1024 * 1024;
const MAX_MS = 5_000;

/** Counts what a rendering uses, and ends it at a limit. */
export class Budget {
  #steps = 0;
  #letters = 0;
  readonly #deadline = performance.now() + MAX_MS;

  /** One step of evaluation. */
  step(count = 1): void {
    const before = this.#steps;
    this.#steps += count;
    if (this.#steps > MAX_STEPS) throw new TemplateFault(`more than ${MAX_STEPS} steps`);
    if (Math.floor(before / 1024) !== Math.floor(this.#steps / 1024) && performance.now() > this.#deadline)
      throw new TemplateFault(`more than ${MAX_MS / 1000} seconds`);
  }

  /** Text that was made; 64 Mi letters in all. */
  text(text: string): string {
    this.letters(text.length);
    return text;
  }

  letters(count: number): void {
    this.#letters += count;
    if (!(this.#letters <= MAX_LETTERS)) throw new TemplateFault(`more than ${MAX_LETTERS} letters of text`);
  }
}
