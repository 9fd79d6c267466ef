/** A legend above the plot at the right, where no axis label reaches; none for a single series, whose name the title can hold. */
export function legendAbove(series: number): Record<string, unknown> {
  if (series < 2) return { showlegend: false };
  return {
    legend: { orientation: 'h', traceorder: 'normal', x: 1, xanchor: 'right', y: 1.02, yanchor: 'bottom' },
  };
}
