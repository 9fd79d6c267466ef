/** How far two colours are apart for readers with and without full colour vision. */

type Triple = readonly [number, number, number];
type Matrix = readonly [Triple, Triple, Triple];

/** What becomes of linear red, green and blue (Machado, Oliveira and Fernandes 2009, severity 1). */
export const VISIONS: Readonly<Record<string, Matrix>> = {
  full: [
    [1, 0, 0],
    [0, 1, 0],
    [0, 0, 1],
  ],
  deuteranopia: [
    [0.367322, 0.860646, -0.227968],
    [0.280085, 0.672501, 0.047413],
    [-0.01182, 0.04294, 0.968881],
  ],
  protanopia: [
    [0.152286, 1.052583, -0.204868],
    [0.114503, 0.786281, 0.099216],
    [-0.003882, -0.048116, 1.051998],
  ],
};

/** Red, green and blue of `#rrggbb`, linear. */
function linear(color: string): Triple {
  const channel = (at: number) => {
    const value = Number.parseInt(color.slice(at, at + 2), 16) / 255;
    return value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4;
  };
  return [channel(1), channel(3), channel(5)];
}

function times(matrix: Matrix, [r, g, b]: Triple): Triple {
  const row = ([x, y, z]: Triple) => Math.min(1, Math.max(0, x * r + y * g + z * b));
  return [row(matrix[0]), row(matrix[1]), row(matrix[2])];
}

/** CIELAB of linear sRGB under D65. */
function lab([r, g, b]: Triple): Triple {
  const cube = (t: number) => (t > 216 / 24389 ? Math.cbrt(t) : (841 / 108) * t + 4 / 29);
  const x = cube((0.4124 * r + 0.3576 * g + 0.1805 * b) / 0.95047);
  const y = cube(0.2126 * r + 0.7152 * g + 0.0722 * b);
  const z = cube((0.0193 * r + 0.1192 * g + 0.9505 * b) / 1.08883);
  return [116 * y - 16, 500 * (x - y), 200 * (y - z)];
}

/** CIE76 distance of two colours as a vision of {@link VISIONS} has them; about 2 is just seen. */
export function colorDistance(a: string, b: string, vision: keyof typeof VISIONS): number {
  const [first, second] = [a, b].map((color) => lab(times(VISIONS[vision]!, linear(color))));
  return Math.hypot(...first!.map((value, at) => value - second![at]!));
}

/** The least distance of any two colours of a palette, for any vision. */
export function leastDistance(colors: readonly string[]): number {
  return Math.min(
    ...Object.keys(VISIONS).flatMap((vision) =>
      colors.flatMap((a, at) => colors.slice(at + 1).map((b) => colorDistance(a, b, vision))),
    ),
  );
}

/** Contrast of two colours, 1 to 21 (WCAG 2). */
export function contrast(a: string, b: string): number {
  const light = (color: string) => {
    const [r, g, blue] = linear(color);
    return 0.2126 * r + 0.7152 * g + 0.0722 * blue + 0.05;
  };
  const [x, y] = [light(a), light(b)];
  return Math.max(x, y) / Math.min(x, y);
}
