import type { Dump } from './reader.js';

/** What everything that compares needs of a dump: the dump itself, or one seen through a name map. */
export interface DumpView
  extends Pick<
    Dump,
    | 'dir'
    | 'manifest'
    | 'roles'
    | 'taps'
    | 'tap'
    | 'prefixes'
    | 'rows'
    | 'read'
    | 'stream'
    | 'readRows'
    | 'isWhole'
    | 'stats'
    | 'hashes'
  > {
  /** Taps that cannot be compared, and why. Default: none. */
  readonly misfits?: ReadonlyMap<string, string>;
  /** The errors of a noise floor; absent from views, whose names differ. */
  noise?: Dump['noise'];
}
