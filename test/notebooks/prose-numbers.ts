/**
 * Where each number in the notebooks' prose comes from. A number is either printed by a cell (`printed`: what
 * the run's text must hold, as it stands there), or it does not depend on a run: then `holds` computes it, or
 * `is` says what it is a name of, a definition, or quoted from.
 */
export type NumberSource = { printed: RegExp } | { holds: boolean } | { is: 'name' | 'structure' | 'quoted' };

/** Numbers in a piece of prose, found by some words around them. */
export type NumberEntry = readonly [words: string, source: NumberSource];

const name = { is: 'name' } as const;
const structure = { is: 'structure' } as const;
const quoted = { is: 'quoted' } as const;

/** Entries that any notebook may use: blocks, tokens and notebooks that are called by their number. */
const NAMES: readonly NumberEntry[] = [
  ['block 0', name],
  ['block 1', name],
  ['block 3', name],
  ['otebook 04', name],
  ['otebook 05', name],
  ['[04', name],
  ['[05', name],
  ['[08', name],
  ['Notebooks 01 to 08', name],
  ['token 0, so', name],
  ['so token 0 needs', name],
];

const BY_NOTEBOOK: Readonly<Record<string, readonly NumberEntry[]>> = {
  '01-quickstart': [
    ['in five steps', structure],
    ['(2 million parameters, 8 blocks)', structure],
    ['1e-6 means that the error is a thousandth of the value', { holds: Math.sqrt(1e-6) === 1e-3 }],
    ['one token of 56 went to', { printed: /1 of 448 .*experts?|1 .*of 448/ }],
  ],
  '02-nmse-per-layer': [['Three runs, three orders of size', structure]],
  '03-step-through-a-layer': [
    ['what five well-known mistakes', structure],
    ['Here are five mistakes', structure],
    ['of 1e-11', { printed: /46 equations hold; largest NMSE \d\.\de-1[1-9]/ }],
    [
      'relative precision of 6e-8, whose square is 4e-15',
      { holds: isNear(2 ** -24, 6e-8) && isNear(2 ** -48, 4e-15) },
    ],
    ['then the bias and not 0.', structure],
    ['head 0 sees the value', structure],
    ['head 1 that of the token', structure],
    ['head 1 is exactly 0.', structure],
    ['or 0 where', structure],
    ['without an expert gets 0.', structure],
  ],
  '04-find-the-f16-im2col': [
    ['top-10 comparison', quoted],
    ['an NMSE of 1.23e-2 where 1e-2 is allowed', quoted],
    ['the check gave 3.9e-3', quoted],
    ["llama.cpp's 1e-2", quoted],
    ['F16 has 10 bits behind the leading one', structure],
  ],
  '05-routing-flips': [['prints all three', structure]],
  '06-backends': [
    ["Three things could change a CPU's numbers", structure],
    ['F16 (11 bits)', structure],
    ['BF16 (8 bits)', structure],
  ],
  '07-quantisation': [
    ['4 bits can be one of 16 values', { holds: 2 ** 4 === 16 }],
    ['Blocks of 32 weights', structure],
    ['the nearest of 16 steps', { holds: 2 ** 4 === 16 }],
    ['asks three more', structure],
    ['(2 million parameters)', structure],
    ['pack 256 weights into a block', structure],
    ['has eight bits for the same reason', { printed: /q4_0 the logits' matrix Q6_K Q8_0 1/ }],
    ['whose products have 4 bits', structure],
    ['a block of 32 weights adds a scale of 16 bits', structure],
    ['bring the ratio below 1,', { printed: /q8_0 0\.99/ }],
    ['four bits less should make about 4⁴ = 256', { holds: 4 ** 4 === 256 }],
    ['tell where 4 bits hurt', structure],
    ['rows of 256 and more', structure],
    ['both store 4 bits', structure],
    ['for every 32 weights', structure],
  ],
  '08-another-programs-dump': [
    ['the next three cells play one', structure],
    ['tokens of class 8', { printed: /of the skip class \(8, which runs no expert\) are wrong/ }],
    ['has experts 0 to 7', structure],
    ['a token took class 8,', { printed: /of the skip class \(8, which runs no expert\) are wrong/ }],
  ],
  '09-any-gguf': [
    ['A prompt of 24 tokens', structure],
    ['of generation: three graphs', { printed: /lfm2.* 3 \d+ / }],
    ['Both are 16 bits wide; BF16 keeps three bits less', { holds: 11 - 8 === 3 }],
  ],
};

/** True where a number as it is written, to one digit, is that value. */
function isNear(value: number, written: number): boolean {
  return Math.abs(value - written) < 0.12 * written;
}

/** The entries of a notebook. */
export function numberEntries(notebook: string): readonly NumberEntry[] {
  return [...NAMES, ...(BY_NOTEBOOK[notebook] ?? [])];
}

const WORDS =
  'three|four|five|six|seven|eight|nine|ten|eleven|twelve|thirteen|fourteen|thousandth|hundred|dozen';
/** Numbers in digits or in words; small ones in words are grammar. */
const NUMBER = new RegExp(`(?<![\\w.])\\d[\\d.,]*(?:e[-+]?\\d+)?(?!\\w)|\\b(?:${WORDS})\\b`, 'gi');

/** Numbers of a text that no entry covers, each with what stands around it. */
export function uncoveredNumbers(text: string, entries: readonly NumberEntry[]): string[] {
  const plain = text.replaceAll(/\s+/g, ' ');
  const covered = entries.flatMap(([words]) => {
    const places: [number, number][] = [];
    for (let at = plain.indexOf(words); at >= 0; at = plain.indexOf(words, at + 1))
      places.push([at, at + words.length]);
    return places;
  });
  return [...plain.matchAll(NUMBER)].flatMap(({ 0: found, index }) => {
    const end = index + found.replace(/[.,]+$/, '').length;
    const isCovered = covered.some(([from, to]) => from <= index && end <= to);
    return isCovered ? [] : [plain.slice(Math.max(0, index - 40), end + 30)];
  });
}
