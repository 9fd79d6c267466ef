/// <reference lib="dom" />

/** An element of the page that is always there. */
export function byId<T extends HTMLElement = HTMLElement>(id: string): T {
  return document.getElementById(id) as T;
}

/** A new element. Text is set as text, never as HTML. */
export function makeElement<K extends keyof HTMLElementTagNameMap>(
  tag: K,
  className = '',
  text = '',
): HTMLElementTagNameMap[K] {
  const element = document.createElement(tag);
  if (className !== '') element.className = className;
  if (text !== '') element.textContent = text;
  return element;
}

/** Copies a text, and says on the button for a moment whether that was allowed. */
export function copyText(text: string, button: HTMLElement): void {
  const say = (what: string): void => {
    button.textContent = what;
    setTimeout(() => {
      button.textContent = button.dataset.label!;
    }, 1500);
  };
  navigator.clipboard.writeText(text).then(
    () => say('Copied'),
    () => say('Not allowed'),
  );
}
