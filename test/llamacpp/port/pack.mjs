/**
 * Packs folders of `zayascope_dump.h` into one file, bit for bit:
 * `node pack.mjs PARENT OUT FOLDER[:BLOCKS]...`. With BLOCKS only the values of the first decoder blocks are
 * kept.
 *
 * The file is one Brotli stream: a line of JSON (name, bytes of the index, bytes of the values, in order),
 * then each folder's index and values. The bytes of a value are sorted by their place in the element, and
 * equal values of several folders are found by Brotli's window.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { brotliCompressSync, constants } from 'node:zlib';

const [parent, out, ...folders] = process.argv.slice(2);
const packed = folders.map((argument) => {
  const [name, blocks] = argument.split(':');
  const lines = readFileSync(join(parent, name, 'index.jsonl'), 'utf8')
    .trimEnd()
    .split('\n');
  const values = readFileSync(join(parent, name, 'tensors.bin'));
  return { name, ...(blocks === undefined ? { lines, values } : firstBlocks(lines, values, Number(blocks))) };
});
const contents = packed.map(({ name, lines, values }) => {
  const index = Buffer.from(lines.map((line) => `${line}\n`).join(''));
  return {
    entry: { name, index: index.length, values: values.length },
    index,
    values: toPlanes(lines, values),
  };
});
const plain = Buffer.concat([
  Buffer.from(`${JSON.stringify(contents.map(({ entry }) => entry))}\n`),
  ...contents.flatMap(({ index, values }) => [index, values]),
]);
writeFileSync(
  out,
  brotliCompressSync(plain, {
    params: {
      [constants.BROTLI_PARAM_QUALITY]: 11,
      [constants.BROTLI_PARAM_LARGE_WINDOW]: 1,
      [constants.BROTLI_PARAM_LGWIN]: 26,
      [constants.BROTLI_PARAM_SIZE_HINT]: plain.length,
    },
  }),
);

/**
 * Up to the output of block `blocks - 1`, half-layer 2 * blocks: `residual-N`. Values lie in the order of
 * their lines.
 */
function firstBlocks(lines, values, blocks) {
  const end = lines.findIndex((line) => JSON.parse(line).name === `residual-${2 * blocks}`) + 1;
  const { offset } = JSON.parse(lines[end]);
  return { lines: [...lines.slice(0, end), lines.at(-1)], values: values.subarray(0, offset) };
}

function toPlanes(lines, values) {
  const planes = Buffer.alloc(values.length);
  for (const { offset, ne, type } of lines.map((line) => JSON.parse(line)).filter(({ ne }) => ne)) {
    const size = { F32: 4, I32: 4 }[type];
    const count = ne.reduce((all, axis) => all * axis, 1);
    for (let i = 0; i < count; i++)
      for (let byte = 0; byte < size; byte++)
        planes[offset + byte * count + i] = values[offset + i * size + byte];
  }
  return planes;
}
