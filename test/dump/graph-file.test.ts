import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import type { DumpGraph, GraphTensor } from '../../src/dump/graph-file.js';
import { Dump } from '../../src/dump/reader.js';
import { DumpWriter } from '../../src/dump/writer.js';
import { root } from '../reference/python.js';
import { description, temporaryFolder } from './dump-fixture.js';

function tensor(id: number, src: (number | null)[], more: Partial<GraphTensor> = {}): GraphTensor {
  const op = src.length === 0 ? 'NONE' : 'ADD';
  return {
    id,
    name: `t${id}`,
    op,
    type: 'F32',
    ne: [4, 2, 1, 1],
    nb: [4, 16, 32, 32],
    params: '',
    flags: 0,
    src,
    ...more,
  };
}

/** Two leaves; 2 = 0 + 1, 3 views 2, 4 = 3 + 1, written over 0. */
const GRAPH: DumpGraph = {
  version: 1,
  tensors: [
    tensor(0, [], { weight: 'blk.0.w', buffer: 'CPU' }),
    tensor(1, []),
    tensor(2, [0, 1], { params: '0000803f', tap: 'embed_tokens' }),
    tensor(3, [2], { op: 'VIEW', viewSrc: 2, viewOffs: 16 }),
    tensor(4, [3, null, 1], { viewSrc: 0, viewOffs: 0 }),
  ],
  graphs: [
    { step: 0, nodes: [2, 3, 4] },
    { step: 1, nodes: [3] },
  ],
};

async function recorded(graph: unknown): Promise<Dump> {
  const dir = join(temporaryFolder(), 'dump');
  await using writer = await DumpWriter.create(dir, description(), { graph: true });
  await writer.writeGraph(GRAPH);
  await writer.finish();
  writeFileSync(join(dir, 'graph.json'), JSON.stringify(graph));
  return Dump.open(dir);
}

/** The graph with one field changed. */
function changed(path: readonly (string | number)[], value: unknown): unknown {
  const graph: unknown = JSON.parse(JSON.stringify(GRAPH));
  let place = graph as Record<string | number, unknown>;
  for (const key of path.slice(0, -1)) place = place[key] as Record<string | number, unknown>;
  place[path.at(-1)!] = value;
  return graph;
}

describe('the graph of a recording', () => {
  it('is read back as it was written, in a dump of version 2', async () => {
    await using dump = await recorded(GRAPH);
    expect(dump.manifest).toMatchObject({ version: 2, graph: { file: 'graph.json' } });
    expect(await dump.graph()).toEqual(GRAPH);
  });

  it('may be thousands of nodes deep', async () => {
    const tensors = Array.from({ length: 50_000 }, (_, id) =>
      tensor(id, id === 0 ? [] : [id - 1, Math.max(0, id - 2)]),
    );
    const graph = { version: 1, tensors, graphs: [{ step: 0, nodes: tensors.slice(1).map(({ id }) => id) }] };
    await using dump = await recorded(graph);
    expect((await dump.graph())!.tensors).toHaveLength(50_000);
  });

  it('of the documentation is one', async () => {
    const text = readFileSync(join(root, 'docs', 'dump-format.md'), 'utf8');
    const [, json] = /## graph\.json[\s\S]*?```json\n([\s\S]*?)```/.exec(text)!;
    const graph = JSON.parse(json!) as DumpGraph;
    await using dump = await recorded(
      changed(
        ['tensors'],
        graph.tensors.map(({ tap: _, ...each }) => each),
      ),
    );
    await expect(dump.graph()).rejects.toThrow(/graphs\[0\]\.nodes\[1\]/);
    await using whole = await recorded({
      ...graph,
      tensors: graph.tensors.map(({ tap: _, ...each }) => each),
    });
    expect((await whole.graph())!.graphs).toEqual([{ step: 0, nodes: [2] }]);
  });

  it.each<[string, (string | number)[], unknown, RegExp]>([
    ['of a later version', ['version'], 2, /expected 1 in version, got 2/],
    ['whose ids are no indices', ['tensors', 1, 'id'], 2, /expected 1 in tensors\[1\]\.id, got 2/],
    [
      'with a source that is not there',
      ['tensors', 2, 'src', 0],
      5,
      /an integer below 5 in tensors\[2\]\.src\[0\], got 5/,
    ],
    ['with a view of nothing', ['tensors', 3, 'viewSrc'], -1, /tensors\[3\]\.viewSrc, got -1/],
    ['with a circle of sources', ['tensors', 2, 'src'], [4], /sources that do not lead back to it/],
    ['with a circle of views', ['tensors', 0, 'viewSrc'], 4, /sources that do not lead back to it/],
    ['with a tensor that reads itself', ['tensors', 1, 'src'], [1], /tensors\[1\]\.src, got 1/],
    [
      'out of order',
      ['graphs', 0, 'nodes'],
      [3, 2, 4],
      /node 2, which it reads, before it in graphs\[0\]\.nodes\[0\]/,
    ],
    ['with a node twice', ['graphs', 0, 'nodes'], [2, 2], /a node that is not listed before/],
    ['with a node that is not there', ['graphs', 0, 'nodes'], [7], /graphs\[0\]\.nodes\[0\], got 7/],
    ['with a negative size', ['tensors', 0, 'ne', 1], -2, /tensors\[0\]\.ne\[1\], got -2/],
    ['with a stride beyond 2^53', ['tensors', 0, 'nb', 3], 2 ** 53, /tensors\[0\]\.nb\[3\]/],
    ['with flags that ggml has not', ['tensors', 2, 'flags'], 2 ** 30, /tensors\[2\]\.flags, got 1073741824/],
    ['of five axes', ['tensors', 0, 'ne'], [1, 1, 1, 1, 1], /4 numbers in tensors\[0\]\.ne/],
    ['with parameters that are no hex', ['tensors', 2, 'params'], '0G', /up to 64 bytes in hex/],
    [
      'with a tap that is not in the dump',
      ['tensors', 2, 'tap'],
      'other',
      /the name of a tap in tensors\[2\]\.tap/,
    ],
    ['without graphs', ['graphs'], undefined, /an array in graphs, got nothing/],
  ])('%s is refused', async (_what, path, value, message) => {
    await using dump = await recorded(changed(path, value));
    await expect(dump.graph()).rejects.toMatchObject({
      code: 'BAD_DUMP',
      message: expect.stringMatching(message),
    });
  });

  it('is checked before it is written, and must be there at the end', async () => {
    const dir = join(temporaryFolder(), 'dump');
    await using writer = await DumpWriter.create(dir, description(), { graph: true });
    await expect(writer.writeGraph(changed(['version'], 3) as DumpGraph)).rejects.toMatchObject({
      code: 'BAD_ARGUMENT',
    });
    await using dump = await Dump.open(dir);
    expect(await dump.graph()).toBeUndefined();
    await expect(writer.finish()).rejects.toMatchObject({ code: 'BAD_ARGUMENT' });
    await using other = await DumpWriter.create(join(dir, '..', 'other'), description());
    await expect(other.writeGraph(GRAPH)).rejects.toMatchObject({ code: 'BAD_ARGUMENT' });
  });
});
