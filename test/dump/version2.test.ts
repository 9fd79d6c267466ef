/**
 * Version 2 of the format against pyarrow, NumPy and gguf-py: what Python writes is read, what we write
 * Python reads, value by value.
 */
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { canDequantise } from '../../src/dump/dequantise.js';
import { isExact, isQuantised } from '../../src/dump/dtypes.js';
import { toBigInt64, toFloat64 } from '../../src/dump/float.js';
import { Dump } from '../../src/dump/reader.js';
import { DumpWriter, type TapValue } from '../../src/dump/writer.js';
import { runCommand } from '../cli/run-command.js';
import { pythonJson } from '../reference/python.js';

interface Expected {
  there: number[];
  shapes: number[][];
  /** Hex of the stored bytes of each row that is there. */
  bytes: string[];
  /** What the elements mean, in float64; of I64 rounded. */
  values: number[][];
}

const scratch = mkdtempSync(join(tmpdir(), 'zayascope-version2-'));
const script = join('test', 'dump', 'version2.py');
let values: Record<string, Expected>;
let dump: Dump;

beforeAll(async () => {
  pythonJson([script, 'make', scratch]);
  values = JSON.parse(readFileSync(join(scratch, 'values.json'), 'utf8')) as Record<string, Expected>;
  dump = await Dump.open(join(scratch, 'dump'));
});

afterAll(async () => {
  await dump.close();
  rmSync(scratch, { recursive: true, force: true });
});

async function rowsOf(source: Dump, tap: string) {
  const rows: {
    position: number;
    shape: readonly number[];
    hex: string;
    values: number[];
    exact: string[];
  }[] = [];
  for await (const { position, shape, data, dtype } of source.stream(tap)) {
    const [count, ...own] = shape as [number, ...number[]];
    const width = data.length / count;
    for (let row = 0; row < count; row++) {
      const part = data.slice(row * width, (row + 1) * width);
      const hex = Buffer.from(part.buffer, part.byteOffset, part.byteLength).toString('hex');
      const isOpaque = isQuantised(dtype) && !canDequantise(dtype);
      rows.push({
        position: position[row]!,
        shape: own,
        hex,
        values: isOpaque ? [] : [...toFloat64(part, dtype)],
        exact: isExact(dtype) ? [...toBigInt64(part, dtype)].map(String) : [],
      });
    }
  }
  return rows;
}

describe('a dump of version 2 that pyarrow wrote', () => {
  it('has the taps, the positions and no tokens', async () => {
    expect(dump.taps).toHaveLength(Object.keys(values).length);
    expect(dump.manifest.model).toEqual({ name: 'net' });
    expect(dump.manifest.sequences).toEqual([{ length: 5 }]);
    expect(dump.manifest.order).toBe('natural');
    expect(dump.roles).toBeUndefined();
    expect([...(await dump.rows('F32[]')).tokenId]).toEqual([-1, -1, -1, -1, -1]);
  });

  it('gives every row that is there, as its bytes and as numbers', async () => {
    for (const { name, dtype } of dump.taps) {
      const want = values[name]!;
      const rows = await rowsOf(dump, name);
      expect(
        rows.map(({ position }) => position),
        name,
      ).toEqual(want.there);
      expect(
        rows.map(({ shape }) => shape),
        name,
      ).toEqual(want.shapes);
      expect(
        rows.map(({ hex }) => hex),
        name,
      ).toEqual(want.bytes);
      if (dtype !== 'Q4_K')
        expect(
          rows.map((row) => row.values),
          name,
        ).toEqual(want.values);
    }
  });

  it('gives I64 beyond 2^53 without rounding', async () => {
    const rows = await rowsOf(dump, 'I64[3]');
    expect(rows[0]!.exact.slice(0, 2)).toEqual(['-9223372036854775808', '9007199254740993']);
    expect(rows.at(-1)!.exact[2]).toBe('9223372036854775807');
    const { data } = await dump.read('I64[3]');
    expect(data).toBeInstanceOf(BigInt64Array);
    expect(() => (data[0] as number) + 1).toThrow(TypeError);
  });

  it('reads a nullable tap in rows that are there, and says where one is not', async () => {
    expect(await dump.readRows('F64[3]?', 0, 5)).toBeUndefined();
    expect((await dump.readRows('F64[3]?', 1, 5))!.shape).toEqual([2, 3]);
    const { shape, position } = await dump.read('F64[3]?');
    expect([shape, [...position]]).toEqual([
      [3, 3],
      [1, 2, 4],
    ]);
  });
});

describe('commands take a dump of version 2', () => {
  const dir = join(scratch, 'dump');

  it('inspect, diff and report', async () => {
    const inspected = await runCommand(['inspect', dir, '--taps', 'Q8_0,BOOL*']);
    expect([inspected.code, inspected.stdout]).toEqual([0, expect.stringMatching(/^positions +5$/m)]);
    const compared = await runCommand(['diff', dir, dir]);
    expect([compared.code, compared.stdout]).toEqual([
      0,
      expect.stringContaining('76 identical, 0 unpaired'),
    ]);
    const out = join(scratch, 'report.html');
    const reported = await runCommand(['report', dir, dir, '--out', out]);
    // Of Q4_K and its nullable twin there is nothing to draw.
    expect([reported.code, reported.stdout]).toEqual([0, expect.stringContaining('of 74 of 76 taps')]);
  });

  it('export, whose file safetensors reads', async () => {
    const out = join(scratch, 'out.safetensors');
    expect((await runCommand(['export', dir, '--taps', 'Q8_0,BOOL*,I64*,U8*,F64*', '--out', out])).code).toBe(
      0,
    );
    const code =
      'import json, sys; from safetensors.numpy import load_file; ' +
      'print(json.dumps({k: [str(v.dtype), list(v.shape), v.tobytes().hex()] for k, v in load_file(sys.argv[1]).items()}))';
    const tensors = pythonJson<Record<string, [string, number[], string]>>(['-c', code, out]);
    expect(tensors.Q8_0!.slice(0, 2)).toEqual(['uint8', [5, 2, 68]]);
    expect(tensors['BOOL[2, 3]?']!.slice(0, 2)).toEqual(['bool', [3, 2, 3]]);
    expect(tensors['I64[3]?#position']).toEqual(['int32', [3], '010000000200000004000000']);
    for (const name of ['Q8_0', 'BOOL[]', 'I64[3]?', 'U8[2, 3]', 'F64[]?'])
      expect(tensors[name]![2], name).toBe(values[name]!.bytes.join(''));
  });
});

describe('a dump of version 2 that we write', () => {
  it('is for pyarrow what pyarrow itself would have written', async () => {
    const out = join(scratch, 'ours');
    const { model, policy, backend, sequences, selection, producer, tier } = dump.manifest;
    await using writer = await DumpWriter.create(out, {
      ...{ tier, producer, model, policy, backend, sequences, selection },
      taps: dump.taps,
    });
    const index = await dump.rows('F32[]');
    const varying = dump.taps.filter(({ shape }) => shape.includes(null)).map(({ name }) => name);
    expect(varying).toEqual(['varying', 'varying?', 'varying Q8_0']);
    const whole = new Map<string, TapValue>();
    for (const { name, scope, nullable } of dump.taps) {
      if (varying.includes(name)) continue;
      const { shape, data } = await dump.read(name);
      const bytes = new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
      const present = nullable === true ? { present: Uint8Array.of(0, 1, 1, 0, 1) } : {};
      whole.set(name, { bytes, shape: scope === 'step' ? shape.slice(1) : shape, ...present });
    }
    // A varying shape is one shape an append: this dump's rows come one by one where they are there, all else
    // stays in the last.
    const rows = await Promise.all(varying.map((name) => rowsOf(dump, name)));
    for (let row = 0; row < 5; row++) {
      const own = new Map<string, TapValue>();
      for (const [name, { bytes, shape, present }] of whole) {
        const { scope } = dump.tap(name);
        if (scope === 'step') {
          if (row === 4) own.set(name, { bytes, shape });
          continue;
        }
        const place =
          present === undefined ? row : present.subarray(0, row).reduce((sum, one) => sum + one, 0);
        if (present?.[row] === 0) continue;
        const width = bytes.length / shape[0]!;
        own.set(name, {
          bytes: bytes.subarray(place * width, (place + 1) * width),
          shape: [1, ...shape.slice(1)],
        });
      }
      for (const [k, name] of varying.entries()) {
        const found = rows[k]!.find(({ position }) => position === row);
        if (found !== undefined)
          own.set(name, { bytes: Buffer.from(found.hex, 'hex'), shape: [1, ...found.shape] });
      }
      const one = (column: Int32Array) => column.subarray(row, row + 1);
      const { sequence, position, tokenId } = index;
      await writer.append(
        0,
        { sequence: one(sequence), position: one(position), tokenId: one(tokenId), step: Int32Array.of(0) },
        own,
      );
    }
    const manifest = await writer.finish();
    expect(manifest.version).toBe(2);
    const found = pythonJson<{ wrong: string[]; metadata: object; rows: number; taps: number }>([
      script,
      'check',
      scratch,
      out,
    ]);
    expect(found).toEqual({
      wrong: [],
      metadata: { 'zayascope.format': '2', 'zayascope.block': '0' },
      rows: 5,
      taps: dump.taps.length,
    });
  });

  it('holds null rows inside a batch, in all kinds of columns', async () => {
    const out = join(scratch, 'batch');
    const { model, policy, backend, sequences, selection, producer, tier } = dump.manifest;
    const taps = dump.taps.filter(({ name, nullable }) => nullable === true && name !== 'varying?');
    const varying = { ...dump.tap('varying?'), name: 'list?' };
    await using writer = await DumpWriter.create(
      out,
      { ...{ tier, producer, model, policy, backend, sequences, selection }, taps: [...taps, varying] },
      // Rows are split over several batches, so that values are cut out of what is packed.
      { batchBytes: 6000 },
    );
    const index = await dump.rows('F32[]');
    const present = Uint8Array.of(0, 1, 1, 0, 1);
    const given = new Map<string, TapValue>();
    for (const { name } of taps) {
      const { shape, data } = await dump.read(name);
      given.set(name, {
        bytes: new Uint8Array(data.buffer, data.byteOffset, data.byteLength),
        shape,
        present,
      });
    }
    given.set('list?', {
      bytes: new Uint8Array(Int16Array.of(1, 2, 3, 4, 5, 6).buffer),
      shape: [3, 2],
      present,
    });
    await writer.append(0, { ...index }, given);
    await writer.finish();
    await using ours = await Dump.open(out);
    expect((await ours.rows('list?')).starts.length).toBeGreaterThan(2);
    for (const { name } of taps) expect(await rowsOf(ours, name), name).toEqual(await rowsOf(dump, name));
    const list = await ours.read('list?');
    expect([list.shape, [...list.data], [...list.position]]).toEqual([
      [3, 2],
      [1, 2, 3, 4, 5, 6],
      [1, 2, 4],
    ]);
  });
});
