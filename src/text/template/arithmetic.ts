/** Python's arithmetic on its integers and floats; what JavaScript would answer otherwise is refused. */
import { Float, TemplateFault, type Value } from './values.js';

/** An integer that JavaScript has exactly. */
export function exactInteger(value: number): number {
  if (!Number.isSafeInteger(value)) throw new TemplateFault('integers beyond 2^53 are not supported');
  return value === 0 ? 0 : value;
}

/** A binary operator on two numbers, of which one is a float or both are integers. */
export function computed(operator: string, x: number, y: number, isFloat: boolean): Value {
  const result = (value: number): Value => (isFloat ? new Float(value) : exactInteger(value));
  switch (operator) {
    case '+':
      return result(x + y);
    case '-':
      return result(x - y);
    case '*':
      return result(x * y);
    case '/':
      return new Float(x / divisor(y));
    case '//':
      return isFloat ? new Float(floorDivided(x, divisor(y))) : result(wholeQuotient(x, divisor(y)));
    case '%':
      return result(modulo(x, divisor(y)));
    case '**':
      return power(x, y, isFloat);
    default:
      throw new TemplateFault(`the operator ${operator} is not supported`);
  }
}

function divisor(y: number): number {
  if (y === 0) throw new TemplateFault('division by zero');
  return y;
}

/** The remainder with the divisor's sign; of floats a zero has it too. */
function modulo(x: number, y: number): number {
  const rest = x % y;
  if (rest === 0) return y < 0 ? -0 : 0;
  return rest < 0 === y < 0 ? rest : rest + y;
}

function wholeQuotient(x: number, y: number): number {
  return Number((BigInt(x) - BigInt(modulo(x, y))) / BigInt(y));
}

/** As CPython: from the remainder, since the rounded quotient may be beyond an integer. */
function floorDivided(x: number, y: number): number {
  const rest = x % y;
  let quotient = (x - rest) / y;
  if (rest !== 0 && rest < 0 !== y < 0) quotient -= 1;
  if (quotient === 0) return x / y < 0 || Object.is(x / y, -0) ? -0 : 0;
  const floor = Math.floor(quotient);
  return quotient - floor > 0.5 ? floor + 1 : floor;
}

/** Whole powers of whole numbers: the last digit of others depends on the C library. */
function power(x: number, y: number, isFloat: boolean): Value {
  if (x === 0 && y < 0) throw new TemplateFault('zero to a negative power');
  if (y === 0 || y === 1) return isFloat ? new Float(x ** y) : x ** y;
  const whole = Math.abs(x) ** Math.abs(y);
  const isExact = Number.isInteger(x) && Number.isInteger(y) && Number.isSafeInteger(whole);
  if (!isExact)
    throw new TemplateFault(
      isFloat || y < 0
        ? 'such a power of a float is not supported'
        : 'integers beyond 2^53 are not supported',
    );
  const signed = x < 0 && y % 2 !== 0 ? -whole : whole;
  if (y < 0) return new Float(1 / signed);
  return isFloat ? new Float(signed) : exactInteger(signed);
}
