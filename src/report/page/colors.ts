/** Colours of the figures that the page makes itself. */
export interface PageColors {
  reference: string;
  tested: string;
  error: string;
  noise: string;
  local: string;
  /** Marks of NaN and infinity. */
  alarm: string;
  /** Plotly colour scales: values around zero, values from zero on, magnitudes of errors. */
  diverging: unknown;
  sequential: unknown;
  errors: unknown;
}
