/** More series than this do not fit beside the title. */
const MOST_ABOVE = 3;

/**
 * A legend above the plot at the right, where no axis label reaches, or below everything where there are many
 * series; none for a single one, whose name the title can hold.
 */
export function legendAbove(series: number): Record<string, unknown> {
  if (series < 2) return { showlegend: false };
  const common = { orientation: 'h', traceorder: 'normal' };
  if (series > MOST_ABOVE) return { legend: { ...common, x: 0, yref: 'container', y: 0, yanchor: 'bottom' } };
  return { legend: { ...common, x: 1, xanchor: 'right', y: 1.02, yanchor: 'bottom' } };
}
