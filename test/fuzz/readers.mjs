/**
 * How each kind of file is read: a list of `[name, shape, digest]`, in the order of names, to be compared
 * with the oracle's.
 */
import { readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { readSequences } from '../../dist/cli/options/tokens.js';
import { openLogits } from '../../dist/diff/logits/check-source.js';
import { toTapElements } from '../../dist/dump/import/foreign.js';
import { planLayout } from '../../dist/dump/import/layout.js';
import { compileNameMap } from '../../dist/dump/names/name-map.js';
import {
  Dump,
  diffDumps,
  formatReport,
  loadPolicy,
  locateRecording,
  openForeignSource,
  openTokenizer,
  readImportance,
  readNameMap,
  readZayaConfig,
  replayRecording,
  toFloat64,
  ZayascopeError,
} from '../../dist/index.js';
import { openBisectState } from '../../dist/locate/bisect/state.js';
import { openRepro } from '../../dist/locate/repro/folder.js';
import { formatLocatedRecording } from '../../dist/recording/locate/format.js';
import { runLocate } from '../../dist/recording/locate/run-locate.js';
import { formatReplay } from '../../dist/recording/replay/format-replay.js';
import { runReplay } from '../../dist/recording/replay/run-replay.js';
import { openCheckpoint } from '../../dist/weights/checkpoint.js';
import { readGgufHeader } from '../../dist/weights/formats/gguf-header.js';
import { ggufCheckpoint } from '../../dist/weights/gguf.js';
import { readTensor } from '../../dist/weights/tensor-data.js';
import { digestNumbers, digestText } from './digest.mjs';

const byName = (entries) => entries.sort((a, b) => (a[0] < b[0] ? -1 : 1));

async function tensors(checkpoint) {
  const entries = [];
  for (const [name, info] of checkpoint.tensors) {
    const bytes = await readTensor(info);
    entries.push([name, [...info.shape], digestText(bytes)]);
  }
  return byName(entries);
}

/** `use(resource)`, and the resource disposed whatever came of it (`await using` needs a newer Node). */
async function using(resource, use) {
  try {
    return await use(resource);
  } finally {
    await resource[Symbol.asyncDispose]();
  }
}

async function foreign(path) {
  return using(await openForeignSource(path), foreignValues);
}

async function foreignValues(source) {
  const entries = [];
  for (const value of source.values) {
    const elements = toTapElements(await value.read(), value.dtype, value.name);
    const context = { tokens: 1, visible: 1, target: undefined };
    const layout = planLayout(value.shape, value.layout ?? [], context, value.name);
    const numbers = numbersOf(value.dtype, layout.apply(elements));
    entries.push([value.name, [...layout.shape], digestNumbers(numbers)]);
  }
  return byName(entries);
}

function numbersOf(dtype, elements) {
  if (dtype === 'BF16' || dtype === 'F16') return toFloat64(elements, dtype);
  return elements;
}

async function dump(path, taps) {
  const opened = await Dump.open(path);
  try {
    const entries = [];
    for (const tap of opened.taps) {
      if (!taps(tap)) continue;
      if (tap.shape.includes(null)) continue;
      const { shape, data } = await opened.read(tap.name);
      entries.push([tap.name, [...shape], digestNumbers(toFloat64(data, tap.dtype))]);
    }
    return byName(entries);
  } finally {
    await opened.close();
  }
}

const REFERENCE = join(import.meta.dirname, '..', '..', 'dumps', 'tiny', 'reference-float32');

const ignore = () => {};
const MODES = ['same', 'widened'];

/**
 * What three commands say of a recording: `pass` or the first that does not, and the taps that nodes
 * compute, by the whole one's graph.
 */
async function judgeRecording(path, replay, locate) {
  const [model, run, whole] = ['model.gguf', 'run', 'whole'].map((name) => join(path, name));
  const graph = JSON.parse(await readFile(join(whole, 'graph.json'), 'utf8'));
  const computed = graph.tensors.filter(({ op, tap }) => op !== 'NONE' && tap !== undefined);
  const replayed = await replay({ recording: run, model, modes: MODES, threads: undefined, backend: 'cpu' });
  formatReplay(replayed, 5);
  const job = { recording: run, model, threads: undefined, backend: 'cpu' };
  const verdicts = [
    await locate({ ...job, reference: undefined }),
    await locate({ ...job, reference: whole }),
  ];
  for (const verdict of verdicts) formatLocatedRecording(verdict);
  const isSame = replayed.nodes.every(({ isSame, problem }) => isSame && problem === undefined);
  const parts = isSame ? (verdicts.some(({ found }) => found) ? 'locate' : 'pass') : 'replay';
  return [
    [parts, [replayed.nodes.length], ''],
    ['computed', [], computed.map(({ tap }) => tap)],
  ];
}

/** By kind of `kinds.mjs`. */
export const READERS = {
  async manifest(path) {
    // What a manifest says reaches everything that is printed.
    const opened = await Dump.open(path);
    await opened.close();
    const reference = await Dump.open(REFERENCE);
    const tested = await Dump.open(path);
    try {
      formatReport(await diffDumps(reference, tested, { failAbove: 1e-6 }));
    } finally {
      await tested.close();
      await reference.close();
    }
    return [];
  },
  arrow: (path) => dump(path, (tap) => tap.file === 'layers.1.arrow'),
  async stats(path) {
    const opened = await Dump.open(path);
    try {
      const stats = await opened.stats();
      return [['rows', [stats.length ?? stats.tap.length], digestNumbers(stats.rms)]];
    } finally {
      await opened.close();
    }
  },
  async hash(path) {
    const opened = await Dump.open(path);
    try {
      const rows = await opened.hashes();
      return [['rows', [rows.length], digestText(rows.map((row) => row.sha256).join('\n'))]];
    } finally {
      await opened.close();
    }
  },
  safetensors: foreign,
  index: async (path) => tensors(await openCheckpoint(path)),
  npy: foreign,
  npz: foreign,
  async pytorch(path) {
    return using(await openForeignSource(path), (source) => {
      // Cut from its mark to its directory, it is bytes that say nothing: those may be raw logits.
      if (source.kind !== 'pytorch') throw new ZayascopeError('BAD_DUMP', 'fuzz: no PyTorch file');
      return foreignValues(source);
    });
  },
  gguf: async (path) =>
    tensors(ggufCheckpoint(await readGgufHeader('fuzz', path), path, (await stat(path)).size)),
  async imatrix(path) {
    const entries = [...(await readImportance(path))];
    return byName(entries.map(([name, values]) => [name, [values.length], digestNumbers(values)]));
  },
  async logits(path) {
    return using(await openLogits(path), async (source) => {
      const entries = [];
      for (let k = 0; k < source.rows.length; k++)
        entries.push([`${k}`, [source.vocabulary], digestNumbers(await source.read(k))]);
      return byName(entries);
    });
  },
  port: foreign,
  recording: (path) =>
    judgeRecording(
      path,
      (run) => runReplay(run, ignore, ignore),
      (run) => runLocate(run, ignore, ignore),
    ),
  'recording-in-child': (path) => judgeRecording(path, replayRecording, locateRecording),
  async config(path) {
    await readZayaConfig(path);
    return [];
  },
  async tokenizer(path) {
    const tokenizer = await openTokenizer(path);
    const text = 'Monday 04:33, captain é — 💥\n\n  end';
    const encode = tokenizer.encodeAsync?.bind(tokenizer) ?? tokenizer.encode.bind(tokenizer);
    return [['ids', [], digestText((await encode(text, 'none')).join(','))]];
  },
  async template(path) {
    const tokenizer = await openTokenizer(path);
    const render = tokenizer.renderChatAsync?.bind(tokenizer) ?? tokenizer.renderChat.bind(tokenizer);
    const messages = [
      { role: 'system', content: 'Be brief.' },
      { role: 'user', content: 'Hi <there> & "you"' },
      { role: 'assistant', content: 'Hello' },
      { role: 'user', content: 'More' },
    ];
    return [['text', [], digestText(await render(messages))]];
  },
  async tokens(path) {
    const sequences = await readSequences(path);
    return [['tokens', [], digestText(JSON.stringify(sequences))]];
  },
  async policy(path) {
    await loadPolicy(path);
    return [];
  },
  async 'name-map'(path) {
    const map = compileNameMap(await readNameMap(path));
    void map;
    return [];
  },
  async 'bisect-state'(path) {
    await openBisectState(path, 'seed');
    return [];
  },
  async repro(path) {
    const repro = await openRepro(path);
    return [['inputs', [repro.inputs.tensors.size], digestText('')]];
  },
};
