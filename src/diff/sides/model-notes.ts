/** What two manifests say of whether both runs are of one model. */
import type { DumpModel } from '../../dump/format.js';
import { UNKNOWN } from '../../dump/import/foreign.js';

/** Sentences about models or weights that are not the same, or not known to be. */
export function modelNotes(reference: DumpModel, tested: DumpModel): string[] {
  const unknown = [reference, tested].findIndex(
    ({ weightsSha256 }) => weightsSha256 === undefined || weightsSha256 === UNKNOWN,
  );
  if (unknown >= 0)
    return [
      `The ${unknown === 0 ? 'reference' : 'tested'} dump does not say which weights it is of: that both are the same model is taken on trust.`,
    ];
  const [a, b] = [reference, tested];
  if (!sameConfig(a, b))
    return [`DIFFERENT MODELS: the config.json of ${a.name} (reference) and ${b.name} (tested) differ.`];
  if (a.weightsSha256 === b.weightsSha256) return [];
  // What a file is converted to has other bytes, though it may hold the same weights.
  if (isGguf(a) !== isGguf(b) || a.dtype !== b.dtype)
    return [
      `${a.name} (reference, ${a.dtype}) and ${b.name} (tested, ${b.dtype}) are files of other types: that they hold the same weights is taken on trust (zayascope diff-weights compares them).`,
    ];
  return [`DIFFERENT WEIGHTS: ${a.name} (reference) and ${b.name} (tested) share their config.json only.`];
}

function isGguf({ layout }: DumpModel): boolean {
  return layout?.startsWith('gguf') === true;
}

/** A GGUF file has no config.json, only what its keys say: the numbers that both have decide, in F32. */
function sameConfig(a: DumpModel, b: DumpModel): boolean {
  if ((a.configSha256 ?? b.configSha256) === (b.configSha256 ?? a.configSha256)) return true;
  const [own, other] = [a.config, b.config];
  if (isGguf(a) === isGguf(b) || own === undefined || other === undefined) return false;
  return Object.entries(own).every(([key, value]) => {
    const theirs = other[key];
    const areNumbers = typeof value === 'number' && typeof theirs === 'number';
    return !areNumbers || key.endsWith('token_id') || Math.fround(value) === Math.fround(theirs);
  });
}
