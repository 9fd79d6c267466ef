/** Arrow schemas of `stats.arrow` and `hash.arrow`. */
import { type DataType, Dictionary, Field, Float64, Int32, Schema, Utf8 } from 'apache-arrow';

/** Integer columns of `stats.arrow` after `tap`, in file order up to the doubles. */
export const STATS_INTS = ['block', 'sequence', 'position', 'step', 'count'] as const;
/** The doubles of `stats.arrow`, in the order of `rowStats`. */
export const STATS_DOUBLES = ['min', 'max', 'mean', 'rms', 'absmax'] as const;
/** The counts of `stats.arrow`, last columns. */
export const STATS_COUNTS = ['nan', 'inf'] as const;
/** Integer columns of `hash.arrow` between `tap` and `sha256`. */
export const HASH_INTS = ['block', 'sequence', 'step', 'rows'] as const;

/** Schema of `stats.arrow`: 13 fields, one node and two buffers each. */
export function statsSchema(): Schema {
  return new Schema([
    tapField(),
    ...STATS_INTS.map(intField),
    ...STATS_DOUBLES.map((name) => new Field<DataType>(name, new Float64(), false)),
    ...STATS_COUNTS.map(intField),
  ]);
}

/** Schema of `hash.arrow`: 6 fields; the last has three buffers. */
export function hashSchema(): Schema {
  return new Schema([
    tapField(),
    ...HASH_INTS.map(intField),
    new Field<DataType>('sha256', new Utf8(), false),
  ]);
}

function tapField(): Field {
  return new Field<DataType>('tap', new Dictionary(new Utf8(), new Int32(), 0), false);
}

function intField(name: string): Field {
  return new Field<DataType>(name, new Int32(), false);
}
