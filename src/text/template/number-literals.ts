/** The library's tokens of a template. */
interface Token {
  type: string;
  value: string;
}

/**
 * Numbers with exponents as one token; the library's lexer ends a number before its `e`. A number is given a
 * fraction, by which the library's parser tells floats.
 *
 * @throws `SyntaxError` for other forms of numbers that Jinja has (`1_000`, `0x10`) and for those that it has
 * not (`01`).
 */
export function joinNumbers<T extends Token>(tokens: readonly T[]): T[] {
  const joined: T[] = [];
  for (let at = 0; at < tokens.length; at++) {
    const token = tokens[at]!;
    const next = tokens[at + 1];
    if (token.type !== 'NumericLiteral') {
      joined.push(token);
      continue;
    }
    if (/^[-+]?0+[1-9]/.test(token.value)) throw new SyntaxError(`the number ${token.value}`);
    const follows = next?.type === 'Identifier' && tokens[at - 1]?.type !== 'Dot' ? next.value : '';
    if (/^(?:_|x[\da-f]|b[01]|o[0-7])/i.test(follows))
      throw new SyntaxError(`the number ${token.value}${follows}: this way of writing it is not supported`);
    if (!/^e\d*$/i.test(follows)) {
      joined.push(token);
      continue;
    }
    const [sign, digits] = [tokens[at + 2], tokens[at + 3]];
    let exponent = follows.slice(1);
    at++;
    if (exponent === '') {
      if (!/^[-+]$/.test(sign?.value ?? '') || !/^\d+$/.test(digits?.value ?? ''))
        throw new SyntaxError(`the number ${token.value}${follows}`);
      exponent = sign!.value + digits!.value;
      at += 2;
    }
    const whole = token.value.includes('.') ? token.value : `${token.value}.0`;
    joined.push({ ...token, value: `${whole}e${exponent}` });
  }
  return joined;
}
