import { basename } from 'node:path';
import { openModelSource } from '../../src/models/layout/source.js';
import type { ZayaConfig } from '../../src/models/zaya/config.js';
import { ggufNames } from '../../src/models/zaya/gguf-names.js';
import { planGguf } from '../../src/models/zaya/gguf-plan.js';
import { writeGguf } from '../../src/weights/gguf-write.js';
import { readTensor } from '../../src/weights/tensor-data.js';

/**
 * Writes a BF16 model as the other public dialect (`blocks`: one GGUF block per block, grouped convolution
 * tap-major); returns the file.
 */
export async function writeBlocksGguf(model: string, file: string): Promise<string> {
  const { config: any, checkpoint } = await openModelSource(model);
  const config = any as ZayaConfig;
  const { metadata } = planGguf(config, 'bf16', basename(model), undefined);
  metadata['zaya.block_count'] = { type: 'u32', value: config.num_hidden_layers };
  const names = ggufNames(config, 'blocks');
  const stored = [...checkpoint.tensors.values()].filter(({ name }) => names.has(name));
  const isGrouped = (name: string) => name.endsWith('conv_qk_grouped.weight');
  const isDepthwise = (name: string) => name.endsWith('conv_qk_depthwise.weight');
  const tensors = stored.map(({ name, dtype, shape }) => {
    const [channels, head, taps] = shape;
    const ordered = isGrouped(name)
      ? [taps!, channels!, head!]
      : isDepthwise(name)
        ? [channels!, taps!]
        : shape;
    return { name: names.get(name)![0]!, dtype, shape: ordered };
  });
  await writeGguf(file, metadata, tensors, async function* (_, index) {
    const bytes = await readTensor(stored[index]!);
    yield isGrouped(stored[index]!.name) ? tapMajor(bytes, stored[index]!.shape.at(-1)!) : bytes;
  });
  return file;
}

/** [.., taps] becomes [taps, ..], 16-bit elements. */
function tapMajor(bytes: Uint8Array, taps: number): Uint8Array {
  const values = new Uint16Array(bytes.buffer, bytes.byteOffset, bytes.byteLength / 2);
  const rest = values.length / taps;
  const out = Uint16Array.from(values, (_, to) => values[(to % rest) * taps + Math.floor(to / rest)]!);
  return new Uint8Array(out.buffer);
}
