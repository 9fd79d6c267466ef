/** What a tested tensor holds, in words. */
import type { RowOrder, Segment, WeightPair } from './pairing.js';
import { matrixOf } from './raw-weights.js';

/** The reference's tensors that a pair holds: numbers that count up are one range. */
export function namesOf({ segments }: WeightPair): string {
  const names = [...new Set(segments.map(({ reference }) => reference.name))];
  if (names.length < 2) return names[0]!;
  return rangeOf(names) ?? names.join(' + ');
}

/** `experts.0.w`, `experts.1.w` as `experts.{0..1}.w`. */
function rangeOf(names: readonly string[]): string | undefined {
  const numbers = names.map((name) => [...name.matchAll(/(?<=\.)\d+(?=\.)/g)]);
  const [first] = numbers as [RegExpExecArray[]];
  const varying = first.findIndex((match, k) => numbers[1]![k]?.[0] !== match[0]);
  if (varying < 0) return undefined;
  const of = (prefix: RegExpExecArray, name: string, put: string) =>
    `${name.slice(0, prefix.index)}${put}${name.slice(prefix.index + prefix[0].length)}`;
  const patterns = names.map((name, k) => {
    const match = numbers[k]![varying];
    return match === undefined ? undefined : of(match, name, '{}');
  });
  if (new Set(patterns).size !== 1 || patterns[0] === undefined) return undefined;
  const range = `{${numbers[0]![varying]![0]}..${numbers.at(-1)![varying]![0]}}`;
  return of(first[varying]!, names[0]!, range);
}

/**
 * Layout and change; empty where the tensor is the reference's as it is.
 * @param same names of other tensors of the reference with the same values.
 */
export function layoutOf(pair: WeightPair, same: readonly string[]): string {
  const { segments, turned, isReshaped, change } = pair;
  const parts = new Set(segments.map((segment) => orderOf(segment, turned === 'reference')));
  const tensors = new Set(segments.map(({ reference }) => reference)).size;
  const words = [
    ...(tensors > 1 ? [`${tensors} joined`] : []),
    ...(turned === 'none' ? [] : ['transposed']),
    ...[...parts].filter((each) => each !== ''),
    ...(isReshaped ? ['other axes'] : []),
    ...(change === 'none' ? [] : [change]),
    ...(same.length === 0
      ? []
      : [`the same as ${same[0]}${same.length > 1 ? ` and ${same.length - 1} more` : ''}`]),
  ];
  return words.join('; ');
}

function orderOf({ reference, first, count, order }: Segment, turned: boolean): string {
  const { stack, rows, columns } = matrixOf(reference.shape);
  const all = stack * (turned ? columns : rows);
  const place = first === 0 ? '' : ` from ${first}`;
  switch (order.kind) {
    case 'same':
      return count === all ? '' : `rows ${first} to ${first + count - 1}`;
    case 'groups':
      return order.size === 1
        ? `every ${ordinal(order.step)} row${place}`
        : `${order.size} of every ${order.step} rows${place}`;
    default:
      return `${orderWords(order)}${count === all ? '' : `, rows ${first} to ${first + count - 1}`}`;
  }
}

function orderWords({ kind, block, parts }: Extract<RowOrder, { block: number }>): string {
  if (kind === 'interleaved')
    return parts === 2
      ? `rotation: halves of each ${block} rows as neighbours`
      : `${parts} parts of each ${block} rows in turn`;
  return parts === 2
    ? `rotation: neighbours of each ${block} rows as halves`
    : `each ${block} rows parted by ${parts}`;
}

function ordinal(number: number): string {
  return number === 2 ? 'second' : number === 3 ? 'third' : `${number}th`;
}
