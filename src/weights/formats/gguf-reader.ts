import { readSync } from 'node:fs';
import type { GgufScalar, GgufValue } from '../../native.js';

/**
 * A header that is not whole or does not say what it should; {@link readGgufHeader} adds operation and file.
 */
export class GgufFault {
  readonly expected: string;
  readonly got: string;

  constructor(expected: string, got: string) {
    this.expected = expected;
    this.got = got;
  }
}

/** Least bytes read at once. */
const CHUNK_BYTES = 1 << 20;

/** Value types by their number in the file; undefined is 9, an array. */
const SCALARS: readonly (keyof typeof SCALAR_BYTES | 'str' | undefined)[] = [
  'u8',
  'i8',
  'u16',
  'i16',
  'u32',
  'i32',
  'f32',
  'bool',
  'str',
  undefined,
  'u64',
  'i64',
  'f64',
];
const ARRAY = 9;
const SCALAR_BYTES = {
  u8: 1,
  i8: 1,
  u16: 2,
  i16: 2,
  u32: 4,
  i32: 4,
  f32: 4,
  bool: 1,
  u64: 8,
  i64: 8,
  f64: 8,
};

/**
 * Reads the parts of a GGUF header one after the other. Every length is held against the rest of the file
 * before anything is read.
 */
export class GgufReader {
  readonly #descriptor: number;
  readonly #size: number;
  #chunk = Buffer.alloc(0);
  #start = 0;
  /** Position in the file. */
  at = 0;

  /** @param size bytes of the file. */
  constructor(descriptor: number, size: number) {
    this.#descriptor = descriptor;
    this.#size = size;
  }

  u32(what: string): number {
    return this.#take(4, what).readUInt32LE();
  }

  u64(what: string): bigint {
    return this.#take(8, what).readBigUInt64LE();
  }

  /** A count of entries that take at least `leastBytes` each. */
  count(what: string, leastBytes: number): number {
    return this.#fits(this.u64(`the number of ${what}`), leastBytes, what);
  }

  /** A text; bytes that are no UTF-8 become U+FFFD. */
  text(what: string): string {
    return this.#text(what).toString('utf8');
  }

  /** The name of a key or a tensor. */
  name(what: string): string {
    const bytes = this.#text(what);
    const name = bytes.toString('utf8');
    if (name === '' || name.includes('\0') || !bytes.equals(Buffer.from(name)))
      throw new GgufFault(
        'names in UTF-8 without NUL',
        `one that begins with ${JSON.stringify(name.split(/[\0\uFFFD]/)[0])}`,
      );
    return name;
  }

  /** A value with its type before it. */
  value(key: string): GgufValue {
    const type = this.u32(`the type of ${key}`);
    if (type !== ARRAY) {
      const scalar = this.#scalarType(type, key);
      return { type: scalar, value: this.#scalar(scalar, key) };
    }
    const itemType = this.#scalarType(this.u32(`the type of the items of ${key}`), key);
    const bytes = itemType === 'str' ? 8 : SCALAR_BYTES[itemType];
    const count = this.count(`items of ${key}`, bytes);
    return { type: 'arr', itemType, value: Array.from({ length: count }, () => this.#scalar(itemType, key)) };
  }

  #scalarType(type: number, key: string): NonNullable<(typeof SCALARS)[number]> {
    const name = SCALARS[type];
    if (name !== undefined) return name;
    const got = type === ARRAY ? 'an array of arrays' : `type ${type}`;
    throw new GgufFault(`a value of a GGUF type for ${key}`, got);
  }

  #scalar(type: NonNullable<(typeof SCALARS)[number]>, key: string): GgufScalar {
    if (type === 'str') return this.text(key);
    const bytes = this.#take(SCALAR_BYTES[type], key);
    switch (type) {
      case 'u8':
        return bytes.readUInt8();
      case 'i8':
        return bytes.readInt8();
      case 'u16':
        return bytes.readUInt16LE();
      case 'i16':
        return bytes.readInt16LE();
      case 'u32':
        return bytes.readUInt32LE();
      case 'i32':
        return bytes.readInt32LE();
      case 'f32':
        return bytes.readFloatLE();
      case 'f64':
        return bytes.readDoubleLE();
      case 'bool':
        return bytes.readInt8() !== 0;
      case 'u64':
        return plainInteger(bytes.readBigUInt64LE());
      case 'i64':
        return plainInteger(bytes.readBigInt64LE());
    }
  }

  #text(what: string): Buffer {
    return this.#take(this.#fits(this.u64(`the length of ${what}`), 1, what), what);
  }

  #fits(count: bigint, bytes: number, what: string): number {
    const room = BigInt(this.#size - this.at);
    if (count * BigInt(bytes) > room)
      throw new GgufFault(`at most the ${room} bytes that the file has left for ${what}`, `${count}`);
    return Number(count);
  }

  /** The next bytes; they hold until the next call. */
  #take(length: number, what: string): Buffer {
    if (this.at + length > this.#size)
      throw new GgufFault(`a whole header, with ${what}`, `a file that ends at byte ${this.#size}`);
    if (this.at + length > this.#start + this.#chunk.length) {
      this.#start = this.at;
      this.#chunk = Buffer.alloc(Math.min(Math.max(length, CHUNK_BYTES), this.#size - this.at));
      for (let done = 0; done < this.#chunk.length; ) {
        const read = readSync(
          this.#descriptor,
          this.#chunk,
          done,
          this.#chunk.length - done,
          this.#start + done,
        );
        if (read === 0)
          throw new GgufFault(`${this.#size} bytes, as many as there were`, 'a file cut short meanwhile');
        done += read;
      }
    }
    const from = this.at - this.#start;
    this.at += length;
    return this.#chunk.subarray(from, from + length);
  }
}

function plainInteger(value: bigint): number | bigint {
  const number = Number(value);
  return Number.isSafeInteger(number) ? number : value;
}
