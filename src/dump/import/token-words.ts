/**
 * True where integers of 32 bits look like the low and high halves of others of 64: every second one is 0,
 * and there are several. A prompt in which every second token is id 0 is written as text or JSON.
 */
export function looksLike64Bits(ids: Int32Array): boolean {
  return ids.length >= 4 && ids.length % 2 === 0 && ids.every((id, at) => at % 2 === 0 || id === 0);
}

/** What is said of such a file. */
export const TOKENS_OF_64_BITS =
  'numbers of which every second one is 0, as I64 ids read (numpy: ids.astype("int32").tofile; or write them as text)';
