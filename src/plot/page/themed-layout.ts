import type { Figure, Layout } from '../figure.js';
import type { Theme } from '../theme.js';

/** Settings of one axis, in plotly's own terms. */
type Part = Readonly<Record<string, unknown>>;

/**
 * A figure's layout with the colours of a theme and its title; what the figure says itself wins, but for the
 * colours of paper and text.
 */
export function themedLayout({ layout, title }: Pick<Figure, 'layout' | 'title'>, theme: Theme): Layout {
  const own = layout as Readonly<Record<string, Part | undefined>>;
  const result: Record<string, unknown> = {
    margin: { l: 72, r: 24, t: 72, b: 56 },
    hovermode: 'closest',
    ...layout,
    title: {
      x: 0,
      xref: 'paper',
      xanchor: 'left',
      ...own.title,
      text: own.title?.text ?? title,
    },
    paper_bgcolor: theme.paper,
    plot_bgcolor: theme.paper,
    font: { family: 'system-ui, sans-serif', size: 12, ...own.font, color: theme.text },
    hoverlabel: {
      bgcolor: theme.hover,
      bordercolor: theme.line,
      font: { color: theme.text },
      align: 'left',
      namelength: -1,
      ...own.hoverlabel,
    },
  };
  const axes = new Set(Object.keys(layout).filter((key) => /^[xy]axis\d*$/.test(key)));
  for (const key of ['xaxis', 'yaxis', ...axes]) result[key] = themedAxis(own[key], theme);
  return result;
}

function themedAxis(axis: Part | undefined, theme: Theme): Part {
  return {
    ...(axis?.showgrid === false ? {} : { gridcolor: theme.grid }),
    ...(axis?.zeroline === false ? {} : { zerolinecolor: theme.grid }),
    linecolor: theme.line,
    automargin: true,
    ...axis,
  };
}
