/**
 * The table of causes: what tends to be wrong in the structure of a port, likelier and cheaper ones first.
 */
import type { CauseKind } from './alternative.js';
import { forms } from './alternatives/forms.js';
import { channelOrder, exchangedHalves, grouping, otherHead } from './alternatives/heads.js';
import {
  exchangedValues,
  leftOutValue,
  neighbour,
  otherValue,
  passedOn,
  scaledInput,
} from './alternatives/inputs.js';
import { otherBlock, otherExpert, otherWeight } from './alternatives/other-weights.js';
import { classes, outputs } from './alternatives/outputs.js';
import { mask, rotary } from './alternatives/positions.js';
import { leftOut, roundedWeight, turned } from './alternatives/weights.js';

export const CAUSES: readonly CauseKind[] = [
  turned,
  exchangedHalves,
  otherExpert,
  leftOut,
  leftOutValue,
  passedOn,
  exchangedValues,
  grouping,
  otherHead,
  rotary,
  mask,
  forms,
  neighbour,
  otherBlock,
  classes,
  outputs,
  channelOrder,
  otherValue,
  otherWeight,
  scaledInput,
  roundedWeight,
];
