/** A report of dumps whose every name and text tries to become script. */
import { join } from 'node:path';
import type { DumpDescription, TapSpec } from '../../src/dump/format.js';
import { Dump } from '../../src/dump/reader.js';
import { DumpWriter } from '../../src/dump/writer.js';
import { createReport } from '../../src/report/report.js';
import { description, rowIndex, temporaryFolder } from '../dump/dump-fixture.js';
import { gaussian } from './random-values.js';

/** Each sets `window.hacked` if it runs. */
const PAYLOADS = [
  '<script>window.hacked=1</script>',
  '</script><script>window.hacked=2</script>',
  '"><img src=x onerror=window.hacked=3>',
  "' onmouseover='window.hacked=4' x='",
  '<!--<script>window.hacked=5',
  '<a href="javascript:window.hacked=6">click</a>',
  'javascript:window.hacked=7',
  '\u2028window.hacked=8\u2029//',
  // biome-ignore lint/suspicious/noTemplateCurlyInString: a placeholder that must stay text
  '${window.hacked=9}`+(window.hacked=9)+`',
  '\\u003cscript\\u003ewindow.hacked=10\\u003c/script\\u003e',
  '&lt;img src=x onerror=window.hacked=11&gt;',
  ']]></style><style>*{display:none}</style>',
  '__proto__',
];
const ALL = PAYLOADS.join(' ');
const TOKENS = 3;

function hostileTaps(): TapSpec[] {
  const tap = (name: string, block: number | null): TapSpec => ({
    name,
    block,
    dtype: 'F32',
    scope: 'token',
    axes: ['T', ALL],
    shape: [4],
  });
  return [
    ...PAYLOADS.map((payload) => tap(payload, null)),
    ...PAYLOADS.map((payload) => tap(`layers.0.${payload}`, 0)),
    tap('layers.0', 0),
    tap('lm_head', null),
  ];
}

async function hostileDump(label: string, extra: string, seed: number): Promise<Dump> {
  // A folder's name is text too; it cannot hold a slash.
  const dir = join(temporaryFolder(), `${label}"><img src=x onerror=window.hacked=12>`);
  const taps = [...hostileTaps(), { ...hostileTaps()[0]!, name: `${extra} ${ALL}`, block: 1 }];
  const hostile: Partial<DumpDescription> = {
    taps,
    producer: { name: ALL, version: ALL, command: `run --prompt '${ALL}'`, [ALL]: ALL },
    model: {
      type: ALL,
      name: ALL,
      config: { prompt: ALL, [ALL]: [ALL] },
      configSha256: ALL,
      weightsSha256: ALL,
      dtype: ALL,
    },
    policy: { name: ALL, rules: [ALL] },
    backend: { name: ALL, device: ALL },
    sequences: [{ tokens: [11, 12, 13], text: ALL } as { tokens: number[] }],
  };
  {
    await using writer = await DumpWriter.create(dir, description(hostile));
    const values = gaussian(seed);
    for (const block of new Set(taps.map((tap) => tap.block)))
      await writer.append(
        block,
        rowIndex(0, TOKENS, 0),
        new Map(
          taps
            .filter((tap) => tap.block === block)
            .map((tap) => {
              const data = Float32Array.from({ length: TOKENS * 4 }, values);
              return [tap.name, { bytes: new Uint8Array(data.buffer), shape: [TOKENS, 4] }];
            }),
        ),
      );
    await writer.finish();
  }
  return Dump.open(dir);
}

/** The page, and the taps that it must list. Each side has a tap of its own besides. */
export async function hostileReport(): Promise<{ html: string; taps: string[] }> {
  await using reference = await hostileDump('reference', 'mine', 1);
  await using tested = await hostileDump('tested', 'other', 2);
  await using noise = await hostileDump('noise', 'third', 3);
  const { html } = await createReport(reference, tested, { title: ALL, failAbove: 1e-3, noiseFloor: noise });
  return { html, taps: hostileTaps().map(({ name }) => name) };
}
