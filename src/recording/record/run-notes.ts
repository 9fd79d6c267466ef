/** What makes a run of libllama say less than it seems to. */
import { flatNote } from '../../flat-logits.js';
import type { RecordResult } from './record.js';

/** Notes on a run that went beyond its model's context, or whose logits tell nothing. */
export function runNotes({
  flatLogits,
  beyondContext,
  tokens,
}: Pick<RecordResult, 'flatLogits' | 'beyondContext' | 'tokens'>): string[] {
  const beyond =
    beyondContext === null
      ? []
      : [
          `${beyondContext.tokens} tokens are more than the context of ${beyondContext.context} that the model was trained with (context_length): nothing is known of what it gives beyond`,
        ];
  return [...beyond, ...flatNote(flatLogits, tokens)];
}
