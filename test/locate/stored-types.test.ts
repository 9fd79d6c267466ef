/**
 * What the real branch wrote from quantised files is told from the dump alone. Right values: the README
 * beside the folders.
 */
import { beforeAll, describe, expect, it } from 'vitest';
import { Dump, formatLocate, type LocateReport, locateDumps } from '../../src/index.js';
import { runCommand } from '../cli/run-command.js';
import { portDump, portReference, portScratch, TINY_MODEL } from '../llamacpp/port/port-folders.js';

const KNOWN = [
  '.mlp.gate.router_mlp:act1',
  '.mlp.gate.router_mlp:act2',
  '.mlp.gate:expert',
  '.self_attn.qkv_proj.conv_qk_grouped',
  '.self_attn:attn_output',
  '.self_attn:attn_weights',
];

async function locate(name: 'before-f32' | 'before-q8_0', model: string): Promise<LocateReport> {
  await using reference = await Dump.open(portReference());
  await using tested = await Dump.open(await portDump(name));
  return await locateDumps(reference, tested, model);
}

describe('the dump of a q8_0 file', () => {
  let withFolder: LocateReport;
  beforeAll(async () => {
    withFolder = await locate('before-q8_0', TINY_MODEL);
  }, 120_000);

  it('given with the float folder: the type is named once, and nothing but what the branch is known for', () => {
    expect(withFolder.firstFault).toBe('layers.0.self_attn.qkv_proj.conv_qk_grouped');
    expect(withFolder.kinds.map(({ kind }) => kind).sort()).toEqual(KNOWN);
    const said = withFolder.notes.filter((note) => note.includes('q8_0 file stores them'));
    expect(said).toHaveLength(1);
    expect(said[0]).toMatch(/the errors of 49 of 49 products go away/);
  });

  it('given with the file that ran: the same', async () => {
    const file = portScratch('tiny-q8_0.gguf');
    const { code } = await runCommand(['convert', TINY_MODEL, '--type', 'q8_0', '--out', file]);
    expect(code).toBe(0);
    const report = await locate('before-q8_0', file);
    expect(report.firstFault).toBe(withFolder.firstFault);
    expect(report.kinds.map(({ kind }) => kind).sort()).toEqual(KNOWN);
    // Ops that read no quantised weight are judged as with the float folder.
    const limits = ({ kinds }: LocateReport) => new Map(kinds.map(({ kind, limit }) => [kind, limit]));
    const [own, others] = [limits(report), limits(withFolder)];
    for (const kind of KNOWN) {
      expect([kind, own.get(kind)! < 1e-12]).toEqual([kind, true]);
      expect([kind, own.get(kind)! / others.get(kind)!]).toEqual([kind, expect.closeTo(1, 0)]);
    }
  });
});

describe('the dump of an F32 file', () => {
  let report: LocateReport;
  beforeAll(async () => {
    report = await locate('before-f32', TINY_MODEL);
  }, 120_000);

  it('is not taken for one of another type', () => {
    expect(report.notes.join()).not.toContain('file stores them');
    expect(report.kinds.map(({ kind }) => kind).sort()).toEqual(KNOWN);
  });

  it('has a skip class that is never chosen: said with its margin, and shown by recomputing', () => {
    const skip = 8;
    const { flips } = report.routing!;
    const refused = flips.filter(({ reference }) => reference === skip);
    expect(refused.length).toBeGreaterThan(5);
    for (const { cause, tested, margin } of refused) {
      expect({ cause, isExpert: tested < skip }).toEqual({ cause: 'no skip class', isExpert: true });
      expect(margin).toBeGreaterThan(0);
    }
    expect(flips.filter(({ cause }) => cause === 'wrong choice')).toEqual([]);
    const choice = report.kinds.find(({ kind }) => kind === '.mlp.gate:expert')!;
    expect(choice.sentence).toMatch(
      /^The skip class is never chosen.*falls from \S+ to 0\. Only tokens of the skip class \(8, which runs no expert\) are wrong\. Right up to position 2,/,
    );
  });

  it('is told on one screen, and the next step starts at the first fault', () => {
    const lines = formatLocate(report).split('\n');
    expect(lines.length).toBeLessThanOrEqual(40);
    expect(lines.join('\n')).toContain('chose the skip class, the port has none (margin ');
    expect(report.kinds[0]!.next).toContain(`--op ${report.firstFault} `);
  });
});
