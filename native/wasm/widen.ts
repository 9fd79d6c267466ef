// AssemblyScript: see main.ts.

/** BF16 bits to F32, eight at a time: `count` is rounded up to a multiple of 8. */
export function widenBF16(from: usize, to: usize, count: i32): void {
  for (let k = 0; k < count; k += 8) {
    const bits = v128.load(from);
    from += 16;
    v128.store(to, i32x4.shl(i32x4.extend_low_i16x8_u(bits), 16));
    v128.store(to, i32x4.shl(i32x4.extend_high_i16x8_u(bits), 16), 16);
    to += 32;
  }
}

/** F16 bits to F32, as {@link widenBF16}. */
export function widenF16(from: usize, to: usize, count: i32): void {
  for (let k = 0; k < count; k += 8) {
    const bits = v128.load(from);
    from += 16;
    v128.store(to, halves(i32x4.extend_low_i16x8_u(bits)));
    v128.store(to, halves(i32x4.extend_high_i16x8_u(bits)), 16);
    to += 32;
  }
}

function halves(bits: v128): v128 {
  const magnitude = v128.and(bits, i32x4.splat(0x7fff));
  // Its exponent is too small by 112 as it lies: times 2^112, which is exact, of subnormal halves too.
  const value = f32x4.mul(i32x4.shl(magnitude, 13), i32x4.splat(0x77800000));
  // Infinities and NaNs have the exponent of all ones in both.
  const special = v128.and(i32x4.gt_s(magnitude, i32x4.splat(0x7bff)), i32x4.splat(0x7f800000));
  const sign = i32x4.shl(v128.and(bits, i32x4.splat(0x8000)), 16);
  return v128.or(v128.or(value, special), sign);
}
