/** Mutations that know nothing of a format. */

const BYTES = [0x00, 0x01, 0x7f, 0x80, 0xff, 0x0a, 0x22, 0x5c, 0x7b, 0x5b];
const WORDS = [0, 1, 2, 7, 0x7f, 0x80, 0xff, 0xffff, 0x7fffffff, 0x80000000, 0xffffffff, 0x10000, 1e6, 4096];

/** One to four mutations of bytes; `from` and `to` bound where they strike. */
export function mutateBytes(
  random,
  bytes,
  { from = 0, to = bytes.length, times = 1 + random.below(4) } = {},
) {
  let out = Buffer.from(bytes);
  for (let k = 0; k < times; k++) out = once(random, out, from, Math.min(to, out.length));
  return out;
}

function once(random, bytes, from, to) {
  if (to <= from) return Buffer.concat([bytes, Buffer.from([random.pick(BYTES)])]);
  const at = from + random.below(to - from);
  switch (random.below(9)) {
    case 0:
      bytes[at] ^= 1 << random.below(8);
      return bytes;
    case 1:
      bytes[at] = random.pick(BYTES);
      return bytes;
    case 2: {
      // A length, a count or an offset stands at a multiple of four in most binary formats.
      const word = at - (at % 4);
      if (word + 4 <= bytes.length) bytes.writeUInt32LE(random.pick(WORDS) >>> 0, word);
      return bytes;
    }
    case 3: {
      const word = at - (at % 8);
      if (word + 8 <= bytes.length)
        bytes.writeBigUInt64LE(
          random.oneIn(3) ? 2n ** BigInt(random.below(64)) : BigInt(random.pick(WORDS)),
          word,
        );
      return bytes;
    }
    case 4: {
      const word = at - (at % 4);
      if (word + 4 <= bytes.length)
        bytes.writeInt32LE((bytes.readInt32LE(word) + random.pick([-1, 1, 8, -8, 64])) | 0, word);
      return bytes;
    }
    case 5:
      return bytes.subarray(0, at);
    case 6: {
      const length = 1 + random.below(Math.min(64, to - at));
      return Buffer.concat([bytes.subarray(0, at), bytes.subarray(at + length)]);
    }
    case 7: {
      const length = 1 + random.below(Math.min(64, to - at));
      return Buffer.concat([bytes.subarray(0, at + length), bytes.subarray(at)]);
    }
    default: {
      const length = Math.min(1 + random.below(32), to - at);
      const source = from + random.below(to - from);
      bytes.copy(bytes, at, source, Math.min(source + length, bytes.length));
      return bytes;
    }
  }
}
