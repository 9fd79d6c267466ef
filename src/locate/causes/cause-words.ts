import type { ModelConfig } from '../../models/runtime/architecture.js';
import { formatError } from '../../text-table.js';
import { blockWords, opWords } from '../faults/plain-words.js';
import type { FoundCause } from './search.js';

/** What {@link causeSentence} tells. */
export interface CauseInWords extends Omit<FoundCause, 'key'> {
  kinds: readonly string[];
  blocks: readonly number[];
  ties: readonly FoundCause[];
  /** Blocks in which it could not be tried. */
  untried: number;
}

/** Causes that explain an op as well are told up to this many, kinds of one cause too. */
const TOLD = 3;

/** E.g. `Gate and up are swapped in every block: NMSE 1.3 as given, 2e-14 swapped.` */
export function causeSentence(cause: CauseInWords, { num_hidden_layers }: ModelConfig): string {
  const { kinds, blocks, before, after, so, ties, untried } = cause;
  const says = clause(cause, blocks);
  const where =
    typeof cause.says === 'string' && blocks.length > 0 ? ` in ${blockWords(blocks, num_hidden_layers)}` : '';
  const others = untried === 0 ? '' : ` (not to be tried in ${untried} more: the dump lacks what they read)`;
  const several = kinds.length === 1 ? '' : ` (${kinds.length} kinds of op: ${listed(kinds)})`;
  const isShare = kinds[0]!.endsWith(':expert');
  const errors = `${isShare ? 'share of wrong choices' : 'NMSE'} ${formatError(before)} as given, ${formatError(after)} ${so}`;
  const equals = ties.slice(0, TOLD).map((tie) => `${clause(tie, blocks)} (${formatError(tie.after)})`);
  const more = ties.length > TOLD ? `, or ${ties.length - TOLD} more` : '';
  const also = equals.length === 0 ? '' : ` As well it may be that ${equals.join(', or ')}${more}.`;
  return `${says.charAt(0).toUpperCase()}${says.slice(1)}${where}${others}${several}: ${errors}.${also}`;
}

function clause({ says }: Pick<FoundCause, 'says'>, blocks: readonly number[]): string {
  return typeof says === 'string' ? says : says(blocks);
}

function listed(kinds: readonly string[]): string {
  const names = kinds.slice(0, TOLD).map((kind) => opWords(kind).name);
  return kinds.length > TOLD ? `${names.join(', ')}, …` : names.join(', ');
}
