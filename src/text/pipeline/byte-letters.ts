/** GPT-2's letters for bytes: printable ones stand for themselves, the others follow from U+0100 on. */
const LETTERS: readonly string[] = (() => {
  let next = 0x100;
  return Array.from({ length: 256 }, (_, byte) => {
    const isItself = (byte > 0x20 && byte < 0x7f) || (byte > 0xa0 && byte !== 0xad);
    return String.fromCodePoint(isItself ? byte : next++);
  });
})();
const BYTES: ReadonlyMap<string, number> = new Map(LETTERS.map((letter, byte) => [letter, byte]));
const utf8 = new TextEncoder();

/** The 256 letters, by byte. */
export function byteAlphabet(): readonly string[] {
  return LETTERS;
}

/** A text as the letters of its bytes. */
export function byteLetters(text: string): string {
  return Array.from(utf8.encode(text), (byte) => LETTERS[byte]!).join('');
}

/** The bytes that letters stand for; of a token with another letter those of the token itself. */
export function letterBytes(token: string): number[] {
  const bytes = Array.from(token, (letter) => BYTES.get(letter));
  return bytes.every((byte) => byte !== undefined) ? bytes : [...utf8.encode(token)];
}
