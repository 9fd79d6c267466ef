/** What all dumps of a comparison hold. */
import type { DumpView } from '../../../dump/dump-view.js';

/** True for a dump of several forward calls. */
export function isContinued({ manifest }: DumpView): boolean {
  return manifest.steps > 1;
}

/**
 * True for values that all dumps hold whole, or up to the forward call in which a run ended. A run that was
 * asked for the last token's logits alone has a row of its last values: they are compared, and nothing is
 * recomputed from them.
 */
export async function heldByAll(dumps: readonly DumpView[]): Promise<(name: string) => boolean> {
  const held = await Promise.all(
    dumps.map(async (dump) => {
      const names = new Set<string>();
      for (const { name, nullable } of dump.taps)
        if (nullable !== true || (await endsInLastCall(dump, name))) names.add(name);
      return names;
    }),
  );
  return (name) => held.every((names) => names.has(name));
}

/** True for a value of a partial dump that its last forward call lacks, and all calls before it have. */
async function endsInLastCall(dump: DumpView, name: string): Promise<boolean> {
  if (dump.manifest.status !== 'partial') return false;
  const { step } = await dump.rows(name);
  const last = step.reduce((a, b) => Math.max(a, b), 0);
  const before = step.filter((each) => each < last).length;
  let there = 0;
  for await (const batch of dump.stream(name)) {
    if (batch.step.at(-1) === last) return false;
    there += batch.shape[0]!;
  }
  return before > 0 && there === before;
}
