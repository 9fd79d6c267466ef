import { describe, expect, it } from 'vitest';
import { EXPERT_COLORS, routingMap } from '../../src/plot/routing/routing-map.js';
import { DARK, DIVERGING_SCALE, LIGHT, SERIES_COLORS, seriesColors } from '../../src/plot/theme.js';
import { colorDistance, contrast, leastDistance } from './color-distance.js';
import { tinyDumps } from './tiny-dumps.js';

const dumps = tinyDumps();

describe('colours', () => {
  it('of series are told apart by all readers, and stand out on both themes', () => {
    expect(leastDistance(SERIES_COLORS)).toBeGreaterThan(29);
    for (const color of SERIES_COLORS)
      for (const { paper } of [LIGHT, DARK]) expect(contrast(color, paper)).toBeGreaterThan(2.4);
  });

  it('of experts are not, and so each cell carries its number', async () => {
    expect(colorDistance(EXPERT_COLORS[2]!, EXPERT_COLORS[3]!, 'deuteranopia')).toBeLessThan(1);
    const [map] = (await routingMap(dumps.reference)).data;
    const { z, text, texttemplate } = map as unknown as {
      z: number[][];
      text: string[][];
      texttemplate: string;
    };
    expect(texttemplate).toBe('%{text}');
    expect(text.map((row) => row.map((label) => (label === '–' ? 8 : Number(label))))).toEqual(z);
  });

  it('of negative and positive values are told apart by all readers', () => {
    const [low, , middle, , high] = DIVERGING_SCALE.map(([, color]) => color);
    expect(leastDistance([low!, middle!, high!])).toBeGreaterThan(40);
  });

  it('of a weight type are the same whichever types a figure shows', () => {
    const all = seriesColors(['bf16', 'q8_0', 'q4_k_m', 'q4_0'].map((label) => ({ label })));
    const some = seriesColors([{ label: 'q4_k_m (0 fallbacks)' }, { label: 'q4_0' }]);
    expect(some).toEqual(all.slice(2));
    expect(new Set(all).size).toBe(4);
    expect(seriesColors([{ label: 'port', color: 1 }])).toEqual([SERIES_COLORS[1]]);
  });
});
