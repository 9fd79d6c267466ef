/**
 * `zayascope/plot`: reports and dumps in, figures out, as data; and figures as HTML. `show` of `zayascope`
 * shows them in a notebook.
 */

export {
  type BackendComparisonOptions,
  type BackendErrors,
  backendComparison,
} from '../plot/error/backend-comparison.js';
export { errorBars, type LabelledError } from '../plot/error/error-bars.js';
export { type ErrorFigureOptions, errorLines, type TapError } from '../plot/error/error-lines.js';
export { errorAgainstMagnitude } from '../plot/error/error-scatter.js';
export type { ErrorSeries, NoiseSource } from '../plot/error/error-series.js';
export { errorShares } from '../plot/error/error-shares.js';
export { type KindMetric, type MetricByKindOptions, metricByKind } from '../plot/error/metric-by-kind.js';
export {
  type BlockError,
  type BlockRun,
  type NmsePerBlockOptions,
  nmsePerBlock,
} from '../plot/error/nmse-per-block.js';
export { type NmsePerTapOptions, nmsePerTap } from '../plot/error/nmse-per-tap.js';
export { nmseRatio } from '../plot/error/nmse-ratio.js';
export { nodeErrors } from '../plot/error/node-errors.js';
export { type TokenBlockOptions, tokenBlockHeatMap } from '../plot/error/token-block-heat-map.js';
export { attributionWaterfall } from '../plot/error/waterfall.js';
export type { Figure, Layout, Trace } from '../plot/figure.js';
export { figureHtml, figurePage, pageScript, plotlySource } from '../plot/figure-html.js';
export { logitsTopK } from '../plot/logits-top-k.js';
export { type ChoiceMapOptions, choiceMap, type RouterChoice } from '../plot/routing/choice-map.js';
export { type RoutingMapOptions, routingMap } from '../plot/routing/routing-map.js';
export { routingMargins } from '../plot/routing/routing-margins.js';
export {
  errorHistogram,
  type HistogramOptions,
  ulpHistogram,
  valueHistogram,
} from '../plot/tensor/histograms.js';
export { type BlockState, type StateViewOptions, stateView } from '../plot/tensor/state-view.js';
export type { SliceOptions, ViewedTensor } from '../plot/tensor/tensor-slice.js';
export { compareTensors, type TensorViewOptions, tensorView } from '../plot/tensor/tensor-view.js';
export { type QuantisationRow, quantisationCost } from '../plot/weights/quantisation.js';
export { type WeightErrors, type WeightErrorsOptions, weightErrors } from '../plot/weights/weight-errors.js';
