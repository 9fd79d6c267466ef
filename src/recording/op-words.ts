/** ggml's parameters of ops, by name, and what ops are in plain words. */

type Kind = 'f32' | 'i32';

/** Parameters in the order in which ggml lays them out, four bytes each; `''` is not told. */
const PARAMETERS: Readonly<Record<string, readonly (readonly [string, Kind])[]>> = {
  NORM: [['epsilon', 'f32']],
  RMS_NORM: [['epsilon', 'f32']],
  L2_NORM: [['epsilon', 'f32']],
  GROUP_NORM: [
    ['groups', 'i32'],
    ['epsilon', 'f32'],
  ],
  SCALE: [
    ['factor', 'f32'],
    ['bias', 'f32'],
  ],
  SOFT_MAX: [
    ['scale', 'f32'],
    ['ALiBi slope', 'f32'],
  ],
  FLASH_ATTN_EXT: [
    ['scale', 'f32'],
    ['ALiBi slope', 'f32'],
    ['soft cap', 'f32'],
    ['precision', 'i32'],
  ],
  MUL_MAT: [['precision', 'i32']],
  MUL_MAT_ID: [['precision', 'i32']],
  CLAMP: [
    ['least', 'f32'],
    ['most', 'f32'],
  ],
  LEAKY_RELU: [['slope', 'f32']],
  CONCAT: [['axis', 'i32']],
  ARGSORT: [['order', 'i32']],
  TOP_K: [['order', 'i32']],
  UNARY: [['function', 'i32']],
  GLU: [
    ['function', 'i32'],
    ['halves swapped', 'i32'],
  ],
  DIAG_MASK_INF: [['past', 'i32']],
  SSM_CONV: [],
  ROPE: [
    ['', 'i32'],
    ['rotated dimensions', 'i32'],
    ['mode', 'i32'],
    ['', 'i32'],
    ['original context', 'i32'],
    ['frequency base', 'f32'],
    ['frequency scale', 'f32'],
    ['extrapolation factor', 'f32'],
    ['attention factor', 'f32'],
    ['beta fast', 'f32'],
    ['beta slow', 'f32'],
  ],
};

/** An op's parameters that are not zero, e.g. `epsilon 0.000001`; those without a known name are left out. */
export function parameterWords(op: string, params: string): string[] {
  const bytes = bytesOf(params);
  return (PARAMETERS[op] ?? []).flatMap(([name, kind], k) =>
    name === '' || bytes.getInt32(4 * k, true) === 0 ? [] : [`${name} ${parameterValue(bytes, k, kind)}`],
  );
}

function parameterValue(bytes: DataView, k: number, kind: Kind): string {
  return kind === 'f32' ? shortest(bytes.getFloat32(4 * k, true)) : String(bytes.getInt32(4 * k, true));
}

/** What differs between the parameters of two nodes of an op, e.g. `epsilon 0.001 instead of 1e-6`. */
export function parameterDifferences(op: string, tested: string, reference: string): string[] {
  if (tested === reference) return [];
  const [own, other] = [bytesOf(tested), bytesOf(reference)];
  const known = PARAMETERS[op] ?? [];
  const words: string[] = [];
  for (let k = 0; k < own.byteLength / 4; k++) {
    if (own.getInt32(4 * k, true) === other.getInt32(4 * k, true)) continue;
    const [name = '', kind = 'i32'] = known[k] ?? [];
    words.push(
      `${name === '' ? `parameter ${k}` : name} ${parameterValue(own, k, kind)} instead of ${parameterValue(other, k, kind)}`,
    );
  }
  return words;
}

/** The shortest decimal that is the same F32. */
function shortest(value: number): string {
  for (let digits = 1; digits < 9; digits++) {
    const text = value.toPrecision(digits);
    if (Math.fround(Number(text)) === value) return String(Number(text));
  }
  return String(value);
}

function bytesOf(hex: string): DataView {
  const bytes = new Uint8Array(64);
  bytes.set(Buffer.from(hex, 'hex'));
  return new DataView(bytes.buffer);
}

/** What a node does to its operands' precision, in plain words. */
export function roundingWords({ op, type }: { op: string; type: string }, types: readonly string[]): string {
  const [first = ''] = types;
  const isBlock = /_|MXFP/.test(first);
  switch (op) {
    case 'SET_ROWS':
    case 'CPY':
      return `values stored in ${type === 'F32' ? first : type}${op === 'SET_ROWS' ? ' (cache)' : ''}`;
    case 'IM2COL':
      return `im2col in ${type}`;
    case 'MUL_MAT':
    case 'MUL_MAT_ID':
      return isBlock
        ? `products with ${first}, activations rounded to blocks of 8 bits`
        : `products with ${first}, activations rounded to ${first}`;
    case 'FLASH_ATTN_EXT':
      return `flash attention over ${first}, sums in F16 or F32 as the kernel has it`;
    default:
      return `${op.toLowerCase().replaceAll('_', ' ')} with ${types.join(', ')}`;
  }
}
