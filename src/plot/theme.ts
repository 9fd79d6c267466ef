/**
 * Colours of series (the first three after Okabe and Ito, 2008, the others searched for the largest
 * distance): any two differ by 29 or more in CIELAB, also as readers without the pigment for green or for red
 * see them, and each has enough contrast on white and on near-black.
 */
export const SERIES_COLORS: readonly string[] = [
  '#0080c8',
  '#e06c00',
  '#00a077',
  '#934423',
  '#25b4c9',
  '#586dff',
  '#026670',
  '#5400ff',
];

/** Weight types that keep their colour in every figure, whichever of them it shows. */
const TYPE_PLACES: readonly string[] = ['bf16', 'q8_0', 'q5_k_m', 'q4_k_m', 'q4_0', 'q6_k', 'f16', 'f32'];

/**
 * A colour for each series: those that name one (a place in {@link SERIES_COLORS}) have it, a label that
 * begins with a weight type has that type's, others in their order.
 */
export function seriesColors(series: readonly { label: string; color?: number | undefined }[]): string[] {
  const areTypes = series.every(({ label }) => TYPE_PLACES.includes(typeOf(label)));
  return series.map(({ label, color }, at) => {
    const place = color ?? (areTypes ? TYPE_PLACES.indexOf(typeOf(label)) : at);
    return SERIES_COLORS[place % SERIES_COLORS.length]!;
  });
}

function typeOf(label: string): string {
  return /^\w+/.exec(label)?.[0] ?? '';
}

/** What is at fault, flipped or failed. */
export const FAULT_COLOR = '#e0393e';
/** What the noise floor covers, translucent. */
export const NOISE_COLOR = 'rgba(128,128,128,0.28)';
/** What is neither. */
export const NEUTRAL_COLOR = '#8a8f98';

/** Low to high magnitude: reads on both themes, monotone in lightness. */
export const SEQUENTIAL_SCALE = 'Viridis';
/** Negative over zero to positive. The middle is light grey, so that zero reads on both themes. */
export const DIVERGING_SCALE: readonly (readonly [number, string])[] = [
  [0, '#2166ac'],
  [0.25, '#67a9cf'],
  [0.5, '#e8e8e8'],
  [0.75, '#ef8a62'],
  [1, '#b2182b'],
];

/** The parts of plotly's layout that a theme sets; deep-merged over a figure's own axes by the page. */
export interface Theme {
  readonly paper: string;
  readonly text: string;
  readonly grid: string;
  readonly line: string;
  readonly hover: string;
}

export const LIGHT: Theme = {
  paper: '#ffffff',
  text: '#1f2328',
  grid: '#e3e6ea',
  line: '#9aa1ab',
  hover: '#ffffff',
};
export const DARK: Theme = {
  paper: '#14171c',
  text: '#e4e7eb',
  grid: '#2b313a',
  line: '#6b7380',
  hover: '#1d2229',
};
