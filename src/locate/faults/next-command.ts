/** The command line that a report prints as the next step: one that works with the dumps at hand. */
import type { DumpView } from '../../dump/dump-view.js';
import { ZayascopeError } from '../../errors.js';
import { POLICIES, type Policy } from '../../graph/policy.js';
import type { Model } from '../../models/runtime/model.js';
import { settingOf } from '../../models/runtime/model-policy.js';
import { heldColumns } from '../replay/graft.js';
import { directInputs } from '../replay/tap-graph.js';
import { buildPiece, opTap, requiredByName } from '../repro/piece.js';
import { AS_STORED } from './notes.js';

/** What a step is made of. */
export interface NextStep {
  reference: DumpView;
  tested: DumpView;
  /** Folder or file of the model, and the model itself; undefined: none at hand. */
  folder: string | undefined;
  model: Model | undefined;
  base: Policy;
  /** The map under which the tested dump is seen, as the command spells it. */
  mapArgument: string | undefined;
}

/**
 * `repro` of the op where the tested dump holds what it reads; else `diff` of its value and of what goes into
 * it.
 */
export function nextCommand(tap: string, step: NextStep, blocks: number): string {
  const { reference, tested, folder, model, base, mapArgument } = step;
  if (folder !== undefined && model !== undefined && canReproduce(tap, tested, model, base)) {
    const name = base.name === AS_STORED ? 'bf16-weights' : base.name;
    const isPlain = name === 'f32' || (base.name === AS_STORED && isAllF32(model));
    const policy = !isPlain && Object.hasOwn(POLICIES, name) ? ` --policy ${name}` : '';
    return `zayascope repro ${shell(tested.dir)} --model ${shell(folder)} --op ${tap}${policy} --out ${reproFolder(tap)}`;
  }
  const map = mapArgument === undefined ? '' : ` --map ${shell(mapArgument)}`;
  const held = new Set(
    [reference, tested]
      .map(({ taps }) => taps.map(({ name }) => name))
      .reduce((a, b) => a.filter((name) => b.includes(name))),
  );
  const taps = [
    ...directInputs(tap, blocks, reference.manifest.model.type).inputs.filter((name) => held.has(name)),
    tap,
  ];
  return `zayascope diff ${shell(reference.dir)} ${shell(tested.dir)}${map} --taps ${taps.join()} --all`;
}

/** A folder for each op, so that one does not stand in another's way. */
export function reproFolder(tap: string): string {
  return `repro-${tap.replace(/[^\w.-]+/g, '-')}`;
}

/** True for a file whose stored types are no choice. */
export function isAllF32({ weights }: Model): boolean {
  return [...weights.checkpoint.tensors.values()].every(({ dtype }) => dtype === 'F32');
}

/**
 * A single op is taken out of a dump of all positions that has the tap names itself, and all that the op
 * reads.
 */
function canReproduce(tap: string, tested: DumpView, { config, weights }: Model, base: Policy): boolean {
  const names = new Map(tested.manifest.taps.map((tap) => [tap.name, tap]));
  if (!names.has(tap) || tested.manifest.tier !== 'full') return false;
  try {
    const { leaves } = buildPiece(
      {
        config,
        required: requiredByName(config),
        op: opTap(config, tap),
        tokens: 2,
        stored: new Map([...weights.checkpoint.tensors.values()].map(({ name, dtype }) => [name, dtype])),
        isGiven: (name) => names.has(name),
        columns: (name, shape) => heldColumns(tested, names.get(name)!, shape),
      },
      settingOf(base, config),
    );
    return leaves.every(({ kind, name }) => kind !== 'tap' || names.has(name));
  } catch (error) {
    // A state, or what only a run with a cache has.
    if (error instanceof ZayascopeError) return false;
    throw error;
  }
}

/** A word of a command line, quoted where a shell would take it apart. */
export function shell(word: string): string {
  return /^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", "'\\''")}'`;
}
