/**
 * `zayascope/format`: what was found as text for people, as the commands print it, and as JSON.
 */

export { conformanceMarkdown } from '../conformance/format-conformance.js';
export { type ComparedReport, formatComparison } from '../diff/format/comparison.js';
export { formatLogitsCheck } from '../diff/format/logits-check.js';
export { type FormatOptions, formatReport } from '../diff/format/report.js';
export { reportToJson } from '../diff/report.js';
export { formatLocate } from '../locate/faults/format.js';
export { formatInvariance } from '../recording/invariance/format.js';
export {
  type FormatOptions as FormatLocatedOptions,
  formatLocatedRecording,
} from '../recording/locate/format.js';
export { formatReplay } from '../recording/replay/format-replay.js';
export { formatNodeReproRuns } from '../recording/repro/run-repro.js';
export { formatWeightsDiff } from '../weights-diff/format-weights-diff.js';
