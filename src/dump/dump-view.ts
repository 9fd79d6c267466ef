import type { Dump } from './reader.js';

/** What a diff needs of a dump: the dump itself, or one seen through a name map. */
export interface DumpView
  extends Pick<
    Dump,
    'dir' | 'manifest' | 'roles' | 'taps' | 'tap' | 'rows' | 'readRows' | 'isWhole' | 'stats' | 'hashes'
  > {
  /** Taps that cannot be compared, and why. Default: none. */
  readonly misfits?: ReadonlyMap<string, string>;
  /** Taps that may hold the first entries of the last axis only. Default: none. */
  readonly prefixes?: ReadonlySet<string>;
}
