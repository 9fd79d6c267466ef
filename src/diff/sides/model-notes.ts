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
    return [
      `DIFFERENT MODELS: the config.json of ${a.name} (reference) and ${b.name} (tested) differ${differences(a, b)}.`,
    ];
  if (a.weightsSha256 === b.weightsSha256) return [];
  // What a file is converted to has other bytes, though it may hold the same weights.
  if (isGguf(a) !== isGguf(b) || a.dtype !== b.dtype)
    return [
      `${a.name} (reference, ${a.dtype}) and ${b.name} (tested, ${b.dtype}) are files of other types: that they hold the same weights is taken on trust (zayascope diff-weights compares them).`,
    ];
  return [`DIFFERENT WEIGHTS: ${a.name} (reference) and ${b.name} (tested) share their config.json only.`];
}

/** How many keys are named with their values. */
const NAMED = 4;

/** Keys of a config that say nothing of what a model computes. */
const BESIDE = new Set(['_name_or_path', 'dtype', 'torch_dtype', 'transformers_version', 'use_cache']);

/** The keys in which two configs differ, with their values; '' where that is not known. */
function differences({ config: own = {} }: DumpModel, { config: other = {} }: DumpModel): string {
  const words = [...new Set([...Object.keys(own), ...Object.keys(other)])].flatMap((key) => {
    const [a, b] = [own[key], other[key]].map((value) => JSON.stringify(value) ?? 'absent');
    return a === b || BESIDE.has(key) ? [] : [`${key} ${a} and ${b}`];
  });
  if (words.length === 0) return '';
  const rest = words.length > NAMED ? `, and ${words.length - NAMED} more` : '';
  return `: ${words.slice(0, NAMED).join(', ')}${rest}`;
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
