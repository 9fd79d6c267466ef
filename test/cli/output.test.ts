import { describe, expect, it } from 'vitest';
import { formatBytes, formatMs } from '../../src/cli/format-number.js';
import { toJson } from '../../src/cli/json.js';
import { progressBar } from '../../src/cli/progress.js';
import { safeTerminal } from '../../src/cli/safe-terminal.js';
import { fields, table } from '../../src/cli/table.js';
import type { Terminal } from '../../src/cli/terminal.js';

function recorder(isInteractive: boolean, columns = 80): Terminal & { notices: string[] } {
  const notices: string[] = [];
  return {
    notices,
    hasColor: false,
    isInteractive,
    columns,
    result: () => {},
    stream: () => {},
    notice: (text) => void notices.push(text),
  };
}

describe('a progress bar', () => {
  it('draws nothing where there is no terminal', () => {
    const terminal = recorder(false);
    {
      using bar = progressBar(safeTerminal(terminal), 'capture', 'segments');
      bar.update(1, 2);
    }
    expect(terminal.notices).toEqual([]);
  });

  it('shows how much is done and erases itself', () => {
    const terminal = recorder(true);
    {
      using bar = progressBar(safeTerminal(terminal), 'capture', 'segments');
      bar.update(5, 10);
    }
    expect(terminal.notices).toEqual([
      `\r\x1b[Kcapture [${'#'.repeat(20)}${'-'.repeat(20)}]  5/10 segments`,
      '\r\x1b[K',
    ]);
  });

  it('always draws the last step', () => {
    const terminal = recorder(true);
    using bar = progressBar(safeTerminal(terminal), 'capture', 'segments');
    for (let done = 1; done <= 10; done++) bar.update(done, 10);
    expect(terminal.notices.at(-1)).toContain('10/10');
  });

  it('fits a narrow terminal', () => {
    const terminal = recorder(true, 12);
    using bar = progressBar(safeTerminal(terminal), 'capture', 'segments');
    bar.update(1, 10);
    expect(terminal.notices[0]!.replace('\r\x1b[K', '').length).toBeLessThan(12);
  });
});

describe('printed results', () => {
  it('align columns and drop blanks at line ends', () => {
    const columns = [{ title: 'tap' }, { title: 'rows', align: 'right' }, { title: 'state' }] as const;
    expect(
      table(columns, [
        ['a', '12', 'whole'],
        ['long name', '3', ''],
      ]),
    ).toBe('tap        rows  state\na            12  whole\nlong name     3');
  });

  it('need no heading', () => {
    expect(
      fields([
        ['a', '1'],
        ['bcd', '2'],
      ]),
    ).toBe('a    1\nbcd  2');
  });

  it.each([
    [0, '0 bytes'],
    [1023, '1023 bytes'],
    [1024, '1.0 KiB'],
    [150 * 1024, '150 KiB'],
    [17.7e9, '16.5 GiB'],
  ])('show %d bytes as %s', (bytes, text) => {
    expect(formatBytes(bytes)).toBe(text);
  });

  it('show milliseconds and seconds', () => {
    expect([formatMs(12.4), formatMs(1234)]).toEqual(['12 ms', '1.2 s']);
  });

  it('never turn NaN or infinities into null in JSON', () => {
    const text = toJson({ a: Number.NaN, b: Number.POSITIVE_INFINITY, c: new Float32Array([1, Number.NaN]) });
    expect(JSON.parse(text)).toEqual({ a: 'NaN', b: 'Infinity', c: [1, 'NaN'] });
  });
});
