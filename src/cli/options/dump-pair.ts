import { Option } from 'commander';
import { FAMILY_MAPS } from '../../families/families.js';

/** `--allow-nonfinite` of commands that compare. */
export function allowNonFiniteOption(): Option {
  return new Option(
    '--allow-nonfinite',
    'pass over what is not finite in the same way on both sides (the same infinity, or NaN): counted, not judged',
  );
}

/** `--map` of commands that compare a dump with one of another program. */
export function mapOption(): Option {
  const maps = Object.keys(FAMILY_MAPS).join(', ');
  return new Option(
    '--map <map>',
    `names and layouts of the tested dump: ${maps}, or a JSON file (default: tap names)`,
  );
}
