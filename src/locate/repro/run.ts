import { MetricSums } from '../../diff/metrics.js';
import { coarserDtype, type UlpDistances, UlpSums } from '../../diff/ulp.js';
import { toFloat32 } from '../../dump/float.js';
import type { TapDtype } from '../../dump/format.js';
import { unmet, ZayascopeError } from '../../errors.js';
import { type Backend, listDevices, openBackend } from '../../graph/backend.js';
import { compileGraphs } from '../../graph/compile.js';
import { canEvaluate, evaluateExactly } from '../../graph/float64.js';
import { type Setting, SITE_KINDS, siteKind } from '../../graph/policy.js';
import { openRepro, type Repro } from './folder.js';
import { folderValue, leafBytes, storedWeight } from './inputs.js';
import { buildPiece, describeNodes, opTap, type Piece, type PieceSource, requiredByName } from './piece.js';
import { policyWords } from './readme.js';
import { pieceVariants } from './variants.js';
import { weightValues } from './weights.js';

/** Options of {@link runRepro}. */
export interface ReproRunOptions {
  /** Devices or backends by name; default: every device that ggml offers. */
  backends?: readonly string[];
  /**
   * Also run with every other dtype and form at the sites that matter, and under the presets. Default false:
   * only under the stored policy.
   */
  dtypeVariants?: boolean;
}

/** A result against another. */
export interface ReproComparison {
  /**
   * Energy NMSE, the other side being the reference; of integers, which have none, the share that differs.
   */
  nmse: number;
  /** Of integers: how many differ, and how many there are. Absent for floats. */
  integers?: { differing: number; elements: number };
  /** Largest difference. */
  maxAbs: number;
  /** Share of elements with the same bits. */
  bitEqual: number;
  /**
   * Elements of which a side is NaN or infinite: they are in none of the errors above, and nothing with one
   * passes.
   */
  nonFinite: number;
  /** Distances in units in the last place of the coarser dtype; absent for integers. */
  ulp: UlpDistances | undefined;
}

/** One device under one set of settings. */
export interface ReproResult {
  device: string;
  /** `policy NAME`, or what differs from it. */
  variant: string;
  /** True under the stored policy itself. */
  isPolicy: boolean;
  /** Against the value of the dump. Absent where the run failed. */
  expected: ReproComparison | undefined;
  /** Against the double-precision evaluation. Absent where the run failed or that is not feasible. */
  exact: ReproComparison | undefined;
  /** Why it could not run on this device. */
  error: string | undefined;
}

/** What {@link runRepro} gives. */
export interface ReproReport {
  op: string;
  policy: string;
  /** Producer and policy of the dump. */
  reference: string;
  positions: { start: number; end: number };
  /**
   * The dump's value against the double-precision evaluation of the same inputs; absent where that is not
   * feasible.
   */
  reference64: ReproComparison | undefined;
  /**
   * True if this version of the library builds another graph for the stored policy than the one in the
   * folder.
   */
  graphChanged: boolean;
  results: ReproResult[];
}

/**
 * Computes the value of a folder again, on every device and, if asked for, in every dtype that its sites can
 * take; compares with the dump's value and with an evaluation in double precision without any rounding. A
 * device that cannot run a variant gets a result with an error.
 *
 * @throws what `openRepro` throws; `BAD_DUMP` where a tensor is missing or does not fit; `BACKEND` for an
 * unknown device.
 */
export async function runRepro(dir: string, options: ReproRunOptions = {}): Promise<ReproReport> {
  const repro = await openRepro(dir);
  const { description } = repro;
  const source = sourceOf(repro);
  const setting: Setting = (site) =>
    Object.hasOwn(description.policy.settings, site)
      ? description.policy.settings[site]!
      : SITE_KINDS[siteKind(site)][0];
  const { name } = description.policy;
  const variants = options.dtypeVariants
    ? pieceVariants(source, setting, name).variants
    : [{ label: `policy ${name}`, piece: buildPiece(source, setting) }];
  const output = variants[0]!.piece.graph.outputs.get(description.op)!;
  const expected = await folderValue(repro, 'expected', description.op, output.shape);
  if ((expected.dtype === 'I32') !== (output.dtype === 'I32'))
    throw unmet('BAD_DUMP', 'runRepro', `${output.dtype} values`, expected.dtype, {
      where: `${description.op} in ${dir}`,
      tensor: description.op,
    });
  const rows = source.op.scope === 'token' ? description.positions : undefined;
  const part = (values: Float32Array) => {
    const row = values.length / description.tokens;
    return rows === undefined ? values : values.subarray(rows.start * row, rows.end * row);
  };
  const reference = part(toFloat32(expected.data, expected.dtype));
  const exact64 = await evaluate(repro, source, setting);
  const exact = exact64 === undefined ? undefined : part(exact64);
  const isInteger = output.dtype === 'I32';
  const results: ReproResult[] = [];
  for (const device of chosenDevices(options.backends)) {
    using backend = openBackend(device);
    for (const [at, { label, piece }] of variants.entries()) {
      const result = { device: backend.device.name, variant: label, isPolicy: at === 0 };
      try {
        const values = part(await run(repro, backend, piece));
        results.push({
          ...result,
          expected: compare(reference, values, isInteger ? undefined : expected.dtype),
          exact: exact === undefined ? undefined : compare(exact, values, isInteger ? undefined : 'F32'),
          error: undefined,
        });
      } catch (error) {
        // A device's inability, or an input that only this variant needs and the folder lacks; anything wrong
        // under the policy itself on the CPU is no finding.
        if (!(error instanceof ZayascopeError) || (error.code !== 'BACKEND' && at === 0)) throw error;
        results.push({ ...result, expected: undefined, exact: undefined, error: error.message });
      }
    }
  }
  return {
    op: description.op,
    policy: name,
    reference: `${description.dump.producer}${policyWords(description.dump.policy)}`,
    positions: description.positions,
    reference64:
      exact === undefined ? undefined : compare(exact, reference, isInteger ? undefined : expected.dtype),
    graphChanged:
      JSON.stringify(describeNodes(variants[0]!.piece.nodes)) !== JSON.stringify(description.graph),
    results,
  };
}

function sourceOf({ description, inputs }: Repro): PieceSource {
  return {
    config: description.config,
    required: requiredByName(description.config),
    op: opTap(description.config, description.op),
    tokens: description.tokens,
    stored: new Map(Object.entries(description.weights).map(([name, { dtype }]) => [name, dtype])),
    isGiven: (name) => inputs.tensors.has(`tap:${name}`),
    columns: (name, shape) => {
      const { prefixes = {} } = description;
      const whole = shape.at(-1)!;
      return Object.hasOwn(prefixes, name) ? Math.min(prefixes[name]!, whole) : whole;
    },
  };
}

function chosenDevices(backends: readonly string[] | undefined): readonly string[] {
  return backends ?? listDevices().map(({ name }) => name);
}

async function run(repro: Repro, backend: Backend, piece: Piece): Promise<Float32Array> {
  using compiled = compileGraphs(backend, [piece.graph]);
  const graph = compiled.graphs[0]!;
  for (const leaf of piece.leaves) graph.setInput(leaf.input, await leafBytes(repro, leaf));
  await backend.native.compute([graph.native]);
  const { bytes, dtype } = graph.outputs()[0]!;
  const own = bytes.slice().buffer;
  return dtype === 'I32' ? Float32Array.from(new Int32Array(own)) : new Float32Array(own);
}

/**
 * The op without any rounding, from the folder's inputs and stored weights; what is no matter of dtype
 * (epsilon, skip class) as the policy says.
 */
async function evaluate(repro: Repro, source: PieceSource, setting: Setting) {
  const { nodes, leaves } = buildPiece(source, (site) => {
    const kind = siteKind(site);
    return kind === 'eps' || kind === 'skip' ? setting(site) : SITE_KINDS[kind][0];
  });
  if (!canEvaluate(nodes)) return undefined;
  const byInput = new Map(leaves.map((leaf) => [leaf.input, leaf]));
  const values = await evaluateExactly(nodes, async ({ name }) => {
    const leaf = byInput.get(name)!;
    if (leaf.kind === 'weight') return Float64Array.from(await weightValues(storedWeight(repro, leaf.name)));
    return Float64Array.from((await leafBytes(repro, leaf)) as Float32Array | Int32Array);
  });
  return Float32Array.from(values);
}

function compare(a: Float32Array, b: Float32Array, dtype: TapDtype | undefined): ReproComparison {
  const sums = new MetricSums();
  sums.add(a, b);
  const { nmse, maxAbs, bitEqual, nonFinite } = sums.metrics();
  if (dtype === undefined) {
    // Ids are no amounts: an expert is not nearer to the next one than to the last.
    const differing = a.reduce((count, value, k) => count + Number(value !== b[k]), 0);
    const integers = { differing, elements: a.length };
    const share = a.length === 0 ? 0 : differing / a.length;
    return { nmse: share, integers, maxAbs, bitEqual, nonFinite, ulp: undefined };
  }
  const ulp = new UlpSums(coarserDtype(dtype, 'F32'));
  ulp.add(a, b);
  return { nmse, maxAbs, bitEqual, nonFinite, ulp: ulp.distances() };
}
