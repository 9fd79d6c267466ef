import type { DumpView } from '../dump/dump-view.js';
import type { DumpRoles } from '../dump/roles.js';

/**
 * Roles of the pairs of two dumps, whose names are the reference's: what it says of them, else what the
 * tested dump says.
 */
export function sharedRoles(reference: DumpView, tested: DumpView): DumpRoles | undefined {
  return reference.roles ?? tested.roles;
}
