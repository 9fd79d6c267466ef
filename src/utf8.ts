const strict = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

/**
 * Text of bytes that must be UTF-8; undefined for others. A plain decoder puts U+FFFD in place of what it
 * cannot read, so that a damaged name, id or hash would go on as another one. A byte-order mark stays.
 */
export function utf8Text(bytes: Uint8Array): string | undefined {
  try {
    return strict.decode(bytes);
  } catch {
    return undefined;
  }
}
