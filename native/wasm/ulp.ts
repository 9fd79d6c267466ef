// AssemblyScript: see main.ts.

// Counts of distances in units in the last place, as in src/diff/ulp.ts: entries of 32 bits at `histogram`
// are added to. One loop a dtype; the two sides are F32 bits.

const EXPONENT: i32 = 0x7f800000;
const MAGNITUDE: i32 = 0x7fffffff;

export function ulpF32(a: usize, b: usize, count: i32, histogram: usize): void {
  for (let k = 0; k < count; k++) {
    const left = load<i32>(a);
    const right = load<i32>(b);
    a += 4;
    b += 4;
    if ((left & EXPONENT) === EXPONENT || (right & EXPONENT) === EXPONENT) continue;
    enter(left & MAGNITUDE, right & MAGNITUDE, left ^ right, histogram);
  }
}

export function ulpBF16(a: usize, b: usize, count: i32, histogram: usize): void {
  for (let k = 0; k < count; k++) {
    const left = load<i32>(a);
    const right = load<i32>(b);
    a += 4;
    b += 4;
    if ((left & EXPONENT) === EXPONENT || (right & EXPONENT) === EXPONENT) continue;
    const x = brain(left & MAGNITUDE);
    const y = brain(right & MAGNITUDE);
    if (x < 0x7f80 && y < 0x7f80) enter(x, y, left ^ right, histogram);
  }
}

export function ulpF16(a: usize, b: usize, count: i32, histogram: usize): void {
  for (let k = 0; k < count; k++) {
    const left = load<i32>(a);
    const right = load<i32>(b);
    a += 4;
    b += 4;
    if ((left & EXPONENT) === EXPONENT || (right & EXPONENT) === EXPONENT) continue;
    const x = half(left & MAGNITUDE);
    const y = half(right & MAGNITUDE);
    if (x < 0x7c00 && y < 0x7c00) enter(x, y, left ^ right, histogram);
  }
}

/** Without a branch on the distance: neighbours differ too often for the processor to guess it. */
function enter(x: i32, y: i32, signs: i32, histogram: usize): void {
  const distance: u32 = select<i32>(x + y, abs(x - y), signs < 0);
  const entry = histogram + (select<u32>(0, 33 - clz<u32>(distance - 1), distance === 0) << 2);
  store<u32>(entry, load<u32>(entry) + 1);
}

function brain(bits: i32): i32 {
  return (bits + 0x7fff + ((bits >> 16) & 1)) >>> 16;
}

function half(bits: i32): i32 {
  if (bits >= 0x38800000) return (bits - 0x38000000 + 0xfff + ((bits >> 13) & 1)) >>> 13;
  const shift = 126 - (bits >> 23);
  if (shift > 24) return 0;
  const fraction = (bits & 0x7fffff) | 0x800000;
  const tie = 1 << (shift - 1);
  const quotient = fraction >> shift;
  const rest = fraction & ((1 << shift) - 1);
  return quotient + i32(rest > tie || (rest === tie && (quotient & 1) === 1));
}
