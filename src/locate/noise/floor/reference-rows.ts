import type { DumpView } from '../../../dump/dump-view.js';
import { toFloat32 } from '../../../dump/float.js';

/** Bytes of values that are kept between runs; beyond, they are read again. */
const KEPT_BYTES = 2 ** 30;

/** Values of a sequence of the reference, whole; kept in memory for the next run as far as there is room. */
export class ReferenceRows {
  readonly #dump: DumpView;
  readonly #sequence: number;
  readonly #kept = new Map<string, Float32Array | Int32Array>();
  #bytes = 0;

  constructor(dump: DumpView, sequence: number) {
    this.#dump = dump;
    this.#sequence = sequence;
  }

  async read(name: string): Promise<Float32Array | Int32Array> {
    const known = this.#kept.get(name);
    if (known !== undefined) return known;
    const { data, dtype } = await this.#dump.read(name, { sequence: this.#sequence });
    const values = dtype === 'I32' ? Int32Array.from(data as Int32Array) : toFloat32(data, dtype).slice();
    if (this.#bytes + values.byteLength <= KEPT_BYTES) {
      this.#kept.set(name, values);
      this.#bytes += values.byteLength;
    }
    return values;
  }
}
