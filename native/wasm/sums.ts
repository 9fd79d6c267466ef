// AssemblyScript: see main.ts.

/**
 * The sums of src/diff/kernels/sum-kernels.ts over `count` F32 elements (a multiple of 4), fused in one pass;
 * written as doubles at `out` in the order of SUM there.
 */
export function sumsF32(a: usize, b: usize, count: i32, shift: f64, out: usize): void {
  let squaredError = f64x2.splat(0);
  let absError = f64x2.splat(0);
  let squaredReference = f64x2.splat(0);
  let squaredTested = f64x2.splat(0);
  let product = f64x2.splat(0);
  let shifted = f64x2.splat(0);
  let shiftedSquares = f64x2.splat(0);
  let withinTenth = i64x2.splat(0);
  let withinHalf = i64x2.splat(0);
  let bitEqual = i32x4.splat(0);
  let maxReference = f32x4.splat(0);
  let maxError = f64x2.splat(0);
  const offset = f64x2.splat(shift);
  const tenth = f64x2.splat(0.001);
  const half = f64x2.splat(0.005);
  for (let k = 0; k < count; k += 4) {
    const x = v128.load(a);
    const y = v128.load(b);
    a += 16;
    b += 16;
    bitEqual = i32x4.sub(bitEqual, i32x4.eq(x, y));
    maxReference = f32x4.pmax(maxReference, f32x4.abs(x));
    const x0 = f64x2.promote_low_f32x4(x);
    const x1 = f64x2.promote_low_f32x4(i32x4.shuffle(x, x, 2, 3, 2, 3));
    const y0 = f64x2.promote_low_f32x4(y);
    const y1 = f64x2.promote_low_f32x4(i32x4.shuffle(y, y, 2, 3, 2, 3));
    const e0 = f64x2.abs(f64x2.sub(x0, y0));
    const e1 = f64x2.abs(f64x2.sub(x1, y1));
    squaredError = f64x2.add(squaredError, f64x2.add(f64x2.mul(e0, e0), f64x2.mul(e1, e1)));
    absError = f64x2.add(absError, f64x2.add(e0, e1));
    maxError = f64x2.pmax(maxError, f64x2.pmax(e0, e1));
    squaredReference = f64x2.add(squaredReference, f64x2.add(f64x2.mul(x0, x0), f64x2.mul(x1, x1)));
    squaredTested = f64x2.add(squaredTested, f64x2.add(f64x2.mul(y0, y0), f64x2.mul(y1, y1)));
    product = f64x2.add(product, f64x2.add(f64x2.mul(x0, y0), f64x2.mul(x1, y1)));
    const s0 = f64x2.abs(x0);
    const s1 = f64x2.abs(x1);
    withinTenth = i64x2.sub(
      withinTenth,
      i64x2.add(f64x2.le(e0, f64x2.mul(tenth, s0)), f64x2.le(e1, f64x2.mul(tenth, s1))),
    );
    withinHalf = i64x2.sub(
      withinHalf,
      i64x2.add(f64x2.le(e0, f64x2.mul(half, s0)), f64x2.le(e1, f64x2.mul(half, s1))),
    );
    const o0 = f64x2.sub(x0, offset);
    const o1 = f64x2.sub(x1, offset);
    shifted = f64x2.add(shifted, f64x2.add(o0, o1));
    shiftedSquares = f64x2.add(shiftedSquares, f64x2.add(f64x2.mul(o0, o0), f64x2.mul(o1, o1)));
  }
  f64.store(out, lanes(squaredError));
  f64.store(out, lanes(absError), 8);
  f64.store(out, lanes(squaredReference), 16);
  f64.store(out, lanes(squaredTested), 24);
  f64.store(out, lanes(product), 32);
  f64.store(out, lanes(shifted), 40);
  f64.store(out, lanes(shiftedSquares), 48);
  f64.store(out, <f64>(i64x2.extract_lane(withinTenth, 0) + i64x2.extract_lane(withinTenth, 1)), 56);
  f64.store(out, <f64>(i64x2.extract_lane(withinHalf, 0) + i64x2.extract_lane(withinHalf, 1)), 64);
  f64.store(
    out,
    <f64>(
      (i32x4.extract_lane(bitEqual, 0) +
        i32x4.extract_lane(bitEqual, 1) +
        i32x4.extract_lane(bitEqual, 2) +
        i32x4.extract_lane(bitEqual, 3))
    ),
    72,
  );
  f64.store(
    out,
    <f64>(
      max(
        max(f32x4.extract_lane(maxReference, 0), f32x4.extract_lane(maxReference, 1)),
        max(f32x4.extract_lane(maxReference, 2), f32x4.extract_lane(maxReference, 3)),
      )
    ),
    80,
  );
  f64.store(out, max(f64x2.extract_lane(maxError, 0), f64x2.extract_lane(maxError, 1)), 88);
}

function lanes(sum: v128): f64 {
  return f64x2.extract_lane(sum, 0) + f64x2.extract_lane(sum, 1);
}
