import { TemplateFault, Undefined, type Value } from './values.js';

/** Names that Jinja gives a meaning which is not supported here: said, not taken for unknown. */
const UNSUPPORTED = new Set(['varargs', 'kwargs', 'lipsum', 'cycler', 'joiner', 'self', 'super']);
const CONSTANTS: ReadonlyMap<string, Value> = new Map<string, Value>([
  ['true', true],
  ['True', true],
  ['false', false],
  ['False', false],
  ['none', null],
  ['None', null],
]);

/** The names that a part of a template sees. */
export class Scope {
  readonly #names = new Map<string, Value>();
  readonly #outer: Scope | undefined;

  constructor(outer: Scope | undefined) {
    this.#outer = outer;
  }

  set(name: string, value: Value): void {
    if (CONSTANTS.has(name)) throw new TemplateFault(`an assignment to ${name}`);
    this.#names.set(name, value);
  }

  get(name: string): Value {
    const constant = CONSTANTS.get(name);
    if (constant !== undefined) return constant;
    const found = this.find(name);
    if (found !== undefined) return found;
    if (UNSUPPORTED.has(name)) throw new TemplateFault(`${name} is not supported`);
    return new Undefined(name);
  }

  find(name: string): Value | undefined {
    let scope: Scope | undefined = this;
    while (scope !== undefined) {
      const found = scope.#names.get(name);
      if (found !== undefined) return found;
      scope = scope.#outer;
    }
    return undefined;
  }
}
