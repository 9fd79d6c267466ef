import { beforeAll, describe, expect, it } from 'vitest';
import { type ConformanceReport, conformance, conformanceWith } from '../../src/conformance/conformance.js';
import { conformanceMarkdown, failureLines } from '../../src/conformance/format-conformance.js';
import { encode, type Memory } from '../../src/conformance/operand.js';
import { type ComputeCase, computeOnDevice } from '../../src/conformance/run-case.js';
import { summarise } from '../../src/conformance/summarise.js';
import { TOLERANCES } from '../../src/conformance/tolerances.js';
import { OP_NAMES } from '../../src/graph/ops.js';
import { runCommand } from '../cli/run-command.js';

describe('the CPU', () => {
  let report: ConformanceReport;
  beforeAll(async () => {
    report = await conformance();
  });

  it('passes', () => {
    expect(failureLines(report)).toEqual([]);
    expect(report.pass).toBe(true);
    expect(report.cases.filter(({ verdict }) => verdict !== 'pass')).toEqual([]);
  });

  it('is asked for every op, in odd, single, batched, strided and non-finite cases', () => {
    expect(new Set(report.cases.map(({ op }) => op))).toEqual(new Set(OP_NAMES));
    const origins = new Set(report.cases.map(({ from }) => from));
    for (const from of ['tiny', 'ZAYA1-8B', 'size one', 'odd', 'batch', 'strided', 'NaN and Inf'])
      expect(origins).toContain(from);
  });

  it('is asked for products in every dtype that the rule allows', () => {
    const dtypes = summarise(report).flatMap(({ op, dtype }) => (op === 'mulMat' ? [dtype] : []));
    expect(dtypes).toEqual(
      expect.arrayContaining(['F32 F32', 'F16 F32', 'BF16 F32', 'Q4_K F32', 'Q8_0 F32']),
    );
    expect(dtypes).not.toContain('F32 F16');
  });

  it('gets a reason for every tolerance, none of which lets the F16 rounding of F32 operands through', () => {
    for (const op of OP_NAMES) expect(TOLERANCES[op].reason.length).toBeGreaterThan(10);
    // Two operands, each off by up to 2^-11 and by about half of that on average.
    const products = report.cases.filter(({ op, dtype }) => op.startsWith('mulMat') && dtype === 'F32 F32');
    expect(products.length).toBeGreaterThan(10);
    for (const each of products) expect('tolerance' in each && each.tolerance).toBeLessThan(1e-10);
  });

  it('gives the same table twice', async () => {
    const again = await conformance({ ops: 'soft*' });
    expect(again.cases).toEqual(report.cases.filter(({ op }) => op === 'softMax'));
  });

  it('is shown as Markdown with a row for each op and set of dtypes', () => {
    const lines = conformanceMarkdown(report).split('\n');
    for (const { op, dtype } of summarise(report))
      expect(lines.some((line) => line.startsWith(`| ${op} | ${dtype} |`))).toBe(true);
  });
});

describe('a wrong result', () => {
  const wrong =
    (change: (values: Float64Array) => void): ComputeCase =>
    async (...args) => {
      const values = await computeOnDevice(...args);
      change(values);
      return values;
    };

  it.each(OP_NAMES)('of %s fails: one element that is off by the size of the largest', async (op) => {
    const off = wrong((values) => {
      values[values.length >> 1]! += 1 + values.reduce((most, value) => Math.max(most, Math.abs(value)), 0);
    });
    const report = await conformanceWith(off, { ops: op });
    expect(report.pass).toBe(false);
    // Among NaN and infinities there is no largest.
    const finite = report.cases.filter(({ from }) => from !== 'NaN and Inf');
    expect(finite.filter(({ verdict }) => verdict !== 'fail')).toEqual([]);
  });

  it('in F32 fails that is off by 2e-5 everywhere, but for the table of gelu', async () => {
    const off = wrong((values) => {
      values.forEach((value, at) => {
        values[at] = value * (1 + 2e-5);
      });
    });
    const report = await conformanceWith(off, { ops: '*' });
    const single = report.cases.filter(({ dtype }) => /^F32( F32)?$/.test(dtype));
    const passed = single.filter(({ verdict }) => verdict === 'pass');
    expect(new Set(passed.map(({ op }) => op))).toEqual(new Set(['gelu']));
  });

  it('fails as a NaN and as an infinity of the wrong sign', async () => {
    const nan = wrong((values) => values.fill(Number.NaN, 0, 1));
    expect((await conformanceWith(nan, { ops: 'scale' })).cases.map(({ verdict }) => verdict)).toContain(
      'fail',
    );
    const flipped = wrong((values) => {
      values.forEach((value, at) => {
        if (!Number.isFinite(value)) values[at] = -value;
      });
    });
    const report = await conformanceWith(flipped, { ops: 'add' });
    expect(
      report.cases.filter(({ verdict }) => verdict === 'fail').every(({ from }) => from === 'NaN and Inf'),
    ).toBe(true);
    expect(failureLines(report)[0]).toMatch(/NaN or infinite on one side only/);
  });

  it('is named where it is the F16 rounding of operands', async () => {
    const halved: ComputeCase = async (backend, built, memories) => {
      const rounded: Record<string, Memory> = {};
      for (const [name, memory] of Object.entries(memories)) {
        const { dtype, shape } = built.graph.tensors.find((tensor) => tensor.name === name)!;
        const isRounded = dtype === 'F32' && built.graph.tensors.some(({ op }) => op === 'mulMat');
        const { elements } = await encode('F16', Float32Array.from(memory.elements), shape.at(-1)!);
        rounded[name] = isRounded ? await encode('F32', Float32Array.from(elements), shape.at(-1)!) : memory;
      }
      return computeOnDevice(backend, built, rounded);
    };
    const { cases } = await conformanceWith(halved, { ops: '{mulMat,mul}' });
    for (const { op, dtype, ...outcome } of cases) {
      const expected = op === 'mulMat' && dtype === 'F32 F32' ? 'fail' : 'pass';
      if (dtype === 'F32 F32') expect(outcome.verdict).toBe(expected);
      if (expected === 'fail') expect(outcome).toMatchObject({ finding: 'rounds operands to F16' });
    }
  });
});

describe('a product of F16 operands', () => {
  const offBy = (factor: number) =>
    conformanceWith(
      async (...args) => (await computeOnDevice(...args)).map((value) => value * (1 + factor)),
      { ops: 'mulMat', dtypes: 'F16 F32' },
    );

  it('that is too far off for its rounding, but not for sums in F16, is said to be so', async () => {
    const { cases } = await offBy(2.5 * 2 ** -11);
    for (const each of cases)
      expect(each).toMatchObject({ verdict: 'fail', finding: 'as far off as sums in F16 are' });
  });

  it('that is further off has no explanation', async () => {
    for (const each of (await offBy(0.5)).cases)
      expect({ finding: undefined, ...each }).toMatchObject({ verdict: 'fail', finding: undefined });
  });
});

describe('the command', () => {
  it('prints a table and passes on the CPU', async () => {
    const { code, stdout } = await runCommand(['conformance', '--ops', 'rmsNorm']);
    expect(code).toBe(0);
    expect(stdout).toMatch(/^op\s+dtype\s+cases\s+supported\s+worst shape\s+NMSE/);
    expect(stdout).toMatch(/rmsNorm\s+F32\s+9\s+yes .*pass/);
  });

  it('takes the sizes of a model and the values of a dump', async () => {
    const args = ['--model', 'dumps/tiny/model', '--dump', 'dumps/tiny/reference-bfloat16', '--json'];
    const { code, stdout } = await runCommand(['conformance', ...args]);
    expect(code).toBe(0);
    const { cases } = JSON.parse(stdout) as ConformanceReport;
    const captured = cases.filter(({ from }) => from.startsWith('reference-bfloat16 layers.4'));
    expect(new Set(captured.map(({ op }) => op))).toEqual(
      new Set([
        'rmsNorm',
        'l2Norm',
        'mulMat',
        'add',
        'geluErf',
        'softMax',
        'argmax',
        'argsort',
        'swiglu',
        'rope',
      ]),
    );
    expect(cases.some(({ from }) => from === 'ZAYA1-8B')).toBe(false);
  });

  it('rejects a pattern that matches no op, and both formats at once', async () => {
    const wrong = await runCommand(['conformance', '--ops', 'matmul']);
    expect(wrong).toMatchObject({ code: 2, stderr: expect.stringMatching(/one of reshape, .*got matmul/) });
    expect((await runCommand(['conformance', '--json', '--markdown'])).code).toBe(2);
  });
});
