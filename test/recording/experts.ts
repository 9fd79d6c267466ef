import { join } from 'node:path';
import { Dump, recordGguf } from '../../src/index.js';
import { type FILE_TYPES, type modelMaker, PROMPT } from './models.js';

/** Experts of a token: the first entries of its sorting, in the graph's own number. */
const EXPERTS = 2;

/** The experts that each token of each block is given, as sets, by block, step and token. */
async function choices(folder: string): Promise<Map<string, string>> {
  await using dump = await Dump.open(folder);
  const found = new Map<string, string>();
  for (const { name } of dump.taps.filter(({ name: tap }) => /^ffn_moe_(argsort|topk)-\d+$/.test(tap))) {
    let row = 0;
    for await (const { data, shape } of dump.stream(name)) {
      const columns = shape.at(-1)!;
      for (let start = 0; start < data.length; start += columns) {
        const first = [...(data as Int32Array).subarray(start, start + EXPERTS)];
        found.set(`${name} ${row++}`, first.sort((a, b) => a - b).join(','));
      }
    }
  }
  return found;
}

/** Flips of a quantised run against that in F32, and of the same with the experts of F32 pinned into it. */
export async function pinExperts(
  { folder, make }: Awaited<ReturnType<typeof modelMaker>>,
  architecture: string,
  type: keyof typeof FILE_TYPES,
) {
  const at = (name: string) => join(folder, name);
  const run = { tokens: PROMPT, generate: 0, threads: 1, overwrite: true };
  await recordGguf({ ...run, model: make(architecture), out: at('f32') });
  const model = make(architecture, type);
  await recordGguf({ ...run, model, out: at('free') });
  const pin = [{ taps: 'ffn_moe_topk-*', from: at('f32') }];
  const { isSame, edited } = await recordGguf({ ...run, model, pin, out: at('pinned') });
  const [f32, free, pinned] = await Promise.all(['f32', 'free', 'pinned'].map((name) => choices(at(name))));
  const flips = (other: ReadonlyMap<string, string>) =>
    [...f32!].filter(([token, choice]) => other.get(token) !== choice).length;
  return { isSame, edited: edited!.nodes, choices: f32!.size, free: flips(free!), pinned: flips(pinned!) };
}
