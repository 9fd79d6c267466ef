import { runInNewContext } from 'node:vm';
import { describe, expect, it } from 'vitest';
import { bundledScript } from '../../src/plot/bundle.js';
import { formatCell } from '../../src/report/page/cell.js';
import type { CellValue, PageTable, TableColumn } from '../../src/report/page/data.js';
import { rowOrder } from '../../src/report/page/table.js';
import { groupName, tapGroups } from '../../src/report/page/tap-groups.js';
import type { UnpackedView } from '../../src/report/page/tensor.js';
import { tensorFigures } from '../../src/report/page/tensor-figures.js';
import { viewLabels } from '../../src/report/page/tensor-labels.js';
import { noErrorsNote, viewNote, wantedTap } from '../../src/report/page/tensor-notes.js';
import { importsOf, loadedBy } from '../import-graph.js';

const column = (key: string, kind: TableColumn['kind'] = 'number'): TableColumn => ({
  key,
  label: key,
  help: '',
  kind,
});
const table = (columns: TableColumn[], rows: CellValue[][]): PageTable => ({ columns, rows });

describe('the groups of taps', () => {
  const columns = [column('tap', 'text'), column('block'), column('error', 'error'), column('differing')];
  const taps = table(columns, [
    ['embed', null, 0, null],
    ['layers.0', 0, 1e-3, null],
    ['layers.0.mlp:choice', 0, null, 2],
    ['layers.1', 1, 'NaN', null],
    ['norm', null, 0, 0],
  ]);

  it('are blocks, and what comes before and after them', () => {
    const groups = tapGroups({ taps, blocks: table([], [['input'], ['0'], ['1'], ['output']]) });
    expect(taps.rows.map((_, at) => groups.labelOf(at))).toEqual(['input', '0', '0', '1', 'output']);
    expect(groups.rowsOf('0').map(([tap]) => tap)).toEqual(['layers.0', 'layers.0.mlp:choice']);
    expect(groups.at('norm')).toBe(4);
    expect(groups.at('nowhere')).toBeUndefined();
    expect([...groups.differing].map(([tap]) => tap)).toEqual([
      'layers.0',
      'layers.0.mlp:choice',
      'layers.1',
    ]);
    expect([groupName('3'), groupName('output')]).toEqual(['block 3', "the model's output"]);
  });

  it('are one where the report has a row for taps of no block', () => {
    const groups = tapGroups({ taps, blocks: table([], [['no block']]) });
    expect(groups.labelOf(0)).toBe('no block');
    expect(groups.labelOf(4)).toBe('no block');
  });
});

it('sorts nothing last in either direction, NaN as the largest, names by the numbers in them', () => {
  const columns = [column('tap', 'text'), column('error', 'error')];
  const rows: CellValue[][] = [
    ['layers.10', 'NaN'],
    ['layers.2', null],
    ['layers.1', 'Infinity'],
    ['embed', 0.5],
  ];
  const sorted = (at: number, descending: boolean): CellValue[] =>
    [...rows].sort(rowOrder(columns, at, descending)).map((row) => row[at]!);
  expect(sorted(0, false)).toEqual(['embed', 'layers.1', 'layers.2', 'layers.10']);
  expect(sorted(1, false)).toEqual([0.5, 'Infinity', 'NaN', null]);
  expect(sorted(1, true)).toEqual(['NaN', 'Infinity', 0.5, null]);
});

it('never rounds a share to all or nothing', () => {
  expect([0, 1e-9, 0.5, 0.999999999, 1].map((share) => formatCell(share, 'share'))).toEqual([
    '0 %',
    '0.01 %',
    '50.00 %',
    '99.99 %',
    '100 %',
  ]);
  expect(formatCell(1.234e25, 'error')).toBe('1.2e25');
  expect(formatCell('Infinity', 'error')).toBe('Infinity');
  expect(formatCell(null, 'error')).toBe('');
});

it.each([
  ['#tap=layers.1%3Ax', 'layers.1:x'],
  ['#tap=%E0%A4%A', undefined],
  ['#blocks', undefined],
  ['', undefined],
])('reads the tap of the address %s', (hash, tap) => {
  expect(wantedTap(hash)).toBe(tap);
});

describe('a view', () => {
  /** Two rows of [2, 3], pooled to one row of two columns. */
  const unpacked: UnpackedView = {
    view: {
      tap: 'layers.0.<b>',
      axes: ['nq', 'd'],
      shape: [2, 3],
      rows: 2,
      scope: 'token',
      gridRows: 1,
      gridColumns: 2,
      rowSet: 0,
      values: { least: -1, most: 2 },
      differences: { least: 1e-3, most: 1e-1 },
      histograms: {
        least: -1,
        most: 2,
        reference: [1, 0],
        tested: [0, 1],
        octave: -4,
        differences: [3],
        same: 1,
        notFinite: 1,
        stride: 2,
      } as UnpackedView['view']['histograms'],
    },
    rows: { sequence: [0], position: [7], token: [11] },
    reference: Float64Array.of(1, Number.NaN),
    tested: Float64Array.of(-1, 2),
    difference: Float64Array.of(0, Number.NaN),
    marks: ['', 'NaN, finite'],
  };

  it('names the rows and elements behind each cell', () => {
    expect(viewLabels(unpacked).cell(0, 1).split('<br>')).toEqual([
      '2 rows from position 7',
      'elements [1, 0] to [1, 2]',
      'not finite: NaN, finite',
      'reference –',
      'tested 2',
      'difference –',
    ]);
    const single = { ...unpacked, view: { ...unpacked.view, rows: 1, shape: [2], axes: ['H'] } };
    expect(viewLabels(single).cell(0, 0)).toMatch(/^position 7, token 11<br>element \[0\]<br>/);
    expect(viewLabels({ ...single, rows: { ...single.rows, sequence: [0, 1] } }).token(0)).toBe('0:7');
    expect(viewNote(unpacked.view)).toMatch(/^2 tokens × 6 elements, pooled to 1 × 2: /);
    expect(viewNote(single.view)).toMatch(/^1 token × 2 elements, every element shown\. /);
    expect(noErrorsNote(3)).toContain('3 of the elements');
  });

  it('is three maps that zoom together, with a cross at what is not finite, and no tag from a name', () => {
    const [maps, values, errors] = tensorFigures(unpacked, true);
    expect(maps!.data.map(({ type }) => type)).toEqual([
      'heatmap',
      'scatter',
      'heatmap',
      'scatter',
      'heatmap',
      'scatter',
    ]);
    expect(maps!.data.filter(({ type }) => type === 'scatter').map(({ x, y }) => [x, y])).toEqual(
      Array(3).fill([[1], [0]]),
    );
    expect(maps!.layout).toMatchObject({ xaxis2: { matches: 'x' }, yaxis3: { matches: 'y' }, height: 430 });
    // The difference is nothing but equal or not finite: plotly gets values that are not seen.
    expect(maps!.data[4]).toMatchObject({ z: [[0, 0]], opacity: 0 });
    expect(maps!.description).toContain('layers.0.&lt;b&gt;');
    expect(values!.data[0]).toMatchObject({ y: [1, 0.5], customdata: [1, 0] });
    expect(errors!.title).toBe(
      'Errors (one element in 2)<br><sub>1 the same, 1 not finite on one side</sub>',
    );
  });
});

describe('the scripts of pages', () => {
  it.each(['figures', 'report'] as const)('%s is one plain script that ends no element', (page) => {
    const source = bundledScript(page);
    expect(source).not.toMatch(/^\s*(import|export)\b|\brequire\(|node:|<\/script|<!--/m);
    // It is read as a script, not as a module; without a page it stops at the first thing that only a browser
    // has.
    expect(() => runInNewContext(source, {})).toThrow(/(document|matchMedia) is not defined/);
  });

  it('are made of modules that reach nothing of Node, nor a package', () => {
    for (const page of ['plot/page/main.ts', 'report/page/main.ts']) {
      const loaded = [...loadedBy(page)];
      expect(loaded.length).toBeGreaterThan(4);
      const outside = loaded
        .flatMap(importsOf)
        .filter(({ kind, to }) => kind !== 'type' && !to.endsWith('.ts'));
      expect(outside).toEqual([]);
    }
  });
});
