/** The four files of a dump, one mutated at a time in an otherwise whole dump. */
import { mutateBytes } from '../mutate-bytes.mjs';
import { mutateJson } from '../mutate-json.mjs';

/**
 * A kind that mutates `file` of the seed dump. Arrow files are struck in their metadata, which is little, as
 * often as in their values.
 */
function dumpFile(kind, seed, file, oracle) {
  return {
    kind,
    seeds: [seed],
    target: '.',
    oracle,
    mutate(random, files) {
      const bytes = files.get(file);
      let mutant;
      if (file.endsWith('.json')) mutant = mutateJson(random, bytes);
      else {
        const schema = Math.min(bytes.length, 4096);
        const footer = Math.max(0, bytes.length - 4096);
        const range = random.pick([{ to: schema }, { from: footer }, {}]);
        mutant = mutateBytes(random, bytes, range);
      }
      return new Map([[file, mutant]]);
    },
  };
}

export const DUMP_KINDS = [
  dumpFile('manifest', 'dump', 'manifest.json'),
  dumpFile('arrow', 'dump', 'layers.1.arrow', 'arrow'),
  dumpFile('stats', 'dump', 'stats.arrow', 'stats'),
  dumpFile('hash', 'dump-hash', 'hash.arrow', 'hash'),
];
