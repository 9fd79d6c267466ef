/** Which choices of dtype are tried on which op. */
import { expect, it } from 'vitest';
import { policy } from '../../src/graph/policy.js';
import { choiceFinder, MAX_CHOICES } from '../../src/locate/faults/explain/hypotheses.js';
import { tapPlace } from '../../src/locate/replay/tap-graph.js';
import { exampleConfig } from '../../src/models/example.js';
import type { Model } from '../../src/models/runtime/model.js';
import { traceModel } from '../../src/models/runtime/trace.js';

/** Choices for ops of a model whose weights are all of one dtype, as `site set`. */
function choicesOf(type: string, dtype: string, base = policy('f32')): (inside: string[]) => string[] {
  const config = exampleConfig(type);
  const tensors = new Map(traceModel(config).weights.map(({ name }) => [name, { name, dtype }]));
  const weights = { checkpoint: { tensors } } as unknown as Model['weights'];
  const find = choiceFinder({ config, weights }, base);
  return (inside) => find(inside).map(({ sites, set }) => `${sites} ${set}`);
}

/** Indices, the lead of a choice, and rows in front of a call, which nothing rounds by themselves. */
const NOT_ROUNDED = /:expert$|:margin$|:lead$/;

it.each(['zaya', 'qwen3', 'qwen3_moe'])('the rounding of every value of %s', (type) => {
  const choices = choicesOf(type, 'F32');
  const kinds = new Set(traceModel(exampleConfig(type)).taps.map(({ name }) => tapPlace(name).suffix));
  expect(kinds.size).toBeGreaterThan(15);
  for (const kind of kinds)
    if (!NOT_ROUNDED.test(kind))
      for (const dtype of ['BF16', 'F16']) {
        const own = choices([kind]).findIndex((each) => each.endsWith(`${kind}#round ${dtype}`));
        expect([kind, own >= 0 && own < MAX_CHOICES]).toEqual([kind, true]);
      }
});

it('no rounding of a value that stands beside', () => {
  expect(choicesOf('zaya', 'F32')(['.mlp.experts']).filter((each) => each.includes('#round '))).toEqual([
    'layers.*.mlp.experts#round BF16',
    'layers.*.mlp.experts#round F16',
  ]);
});

it('no choice that changes nothing', () => {
  const projection = ['.self_attn.qkv_proj.k_proj'];
  const stored = 'layers.*.self_attn.qkv_proj.k_proj#weight stored';
  expect(choicesOf('zaya', 'BF16')(projection)).toContain(stored);
  expect(choicesOf('zaya', 'F32')(projection)).not.toContain(stored);
  expect(choicesOf('zaya', 'BF16', policy('bf16-weights'))(projection)).not.toContain(stored);
});

it('what ports choose first', () => {
  const inside = [
    ...new Set(traceModel(exampleConfig('zaya')).taps.map(({ name }) => tapPlace(name).suffix)),
  ];
  expect(choicesOf('zaya', 'BF16')(inside).slice(0, MAX_CHOICES)).toContain(
    'layers.*.mlp.gate:expert#skip dropped',
  );
});
