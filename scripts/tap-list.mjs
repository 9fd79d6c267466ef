// `npm run taps` writes dumps/reference/taps.json: the taps that Python dumps, as the model files have them.
// Without --write the list is printed; a test compares it with the file.
//
// By family and place (`model`: of no block, by name; `block`: by what follows `layers.N`): axes, and where
// they are not F32 and of a token, dtype and scope.
import { writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { architectureOf, parseConfig } from '../dist/models/architectures.js';
import { modelTaps } from '../dist/models/runtime/trace.js';

const FILE = fileURLToPath(new URL('../dumps/reference/taps.json', import.meta.url));

/** Configurations that together have every tap of every family. */
const CONFIGS = [
  { model_type: 'zaya', num_hidden_layers: 1 },
  { model_type: 'qwen3', num_hidden_layers: 1 },
  { model_type: 'qwen3_moe', num_hidden_layers: 1 },
];

function tapList() {
  const families = {};
  for (const json of CONFIGS) {
    const config = parseConfig(json);
    const { name: family, order } = architectureOf(config).family;
    families[family] ??= { model: {}, block: {} };
    for (const { name, block, axes, dtype, scope } of modelTaps(config, true)) {
      const [place, key] = block === null ? ['model', name] : ['block', name.replace(/^layers\.\d+/, '')];
      families[family][place][key] = {
        axes: axes.join(','),
        ...(dtype !== 'F32' && { dtype }),
        ...(scope !== 'token' && { scope }),
      };
    }
    const rank = ([key]) => order.findIndex((name) => name.replace('layers.{l}', '') === key);
    for (const [place, taps] of Object.entries(families[family]))
      families[family][place] = Object.fromEntries(Object.entries(taps).sort((a, b) => rank(a) - rank(b)));
  }
  return families;
}

const text = `${JSON.stringify(tapList(), null, 2)}\n`;
if (process.argv.includes('--write')) writeFileSync(FILE, text);
else process.stdout.write(text);
