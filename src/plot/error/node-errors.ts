import type { JudgedNode, RecordingVerdict } from '../../recording/locate/locate.js';
import type { Figure, Layout, Trace } from '../figure.js';
import { legendAbove } from '../legend.js';
import { type LogValues, logAxis, logValues, plainText, titled, unseen } from '../log-values.js';
import { requireSome } from '../require-some.js';
import { FAULT_COLOR, NEUTRAL_COLOR, SERIES_COLORS } from '../theme.js';

/** Marks of one kind of node. */
interface Marks {
  label: string;
  color: string;
  symbol: string;
  nodes: readonly { node: JudgedNode; place: number }[];
}

/**
 * A recording as `locateRecording` judged it, node by node in the order in which they ran: what each errs
 * itself, faults marked, and with a reference what has gathered by then. A click copies the node's name.
 *
 * @throws `BAD_ARGUMENT` for a verdict in which no node was judged.
 */
export function nodeErrors(verdict: RecordingVerdict, options: { title?: string } = {}): Figure {
  const judged = verdict.nodes.flatMap((node, place) => (node.ownError === null ? [] : [{ node, place }]));
  requireSome('nodeErrors', 'a verdict with nodes that were judged', judged.length);
  const faults = judged.filter(({ node }) => node.isFault);
  const rounding = judged.filter(({ node }) => !node.isFault && node.ownError! > 0);
  const exact = judged.filter(({ node }) => !node.isFault && node.ownError === 0);
  const whole = verdict.nodes.flatMap((node, place) =>
    node.wholeError === undefined ? [] : [{ node, place }],
  );
  const marks: Marks[] = [
    { label: 'makes no error', color: NEUTRAL_COLOR, symbol: 'line-ns-open', nodes: exact },
    { label: 'rounds, as its types say', color: SERIES_COLORS[1]!, symbol: 'circle', nodes: rounding },
    { label: 'at fault', color: FAULT_COLOR, symbol: 'x', nodes: faults },
  ].filter(({ nodes }) => nodes.length > 0);
  const values = logValues([
    whole.map(({ node }) => node.wholeError!),
    ...marks.map(({ nodes }) => nodes.map(({ node }) => node.ownError!)),
  ]);
  const title = options.title ?? 'What each node errs';
  const { recording, reference } = verdict.names;
  return {
    name: 'node-errors',
    title,
    description: `Error of each of ${judged.length} nodes of ${recording} in the order in which they ran, on a logarithmic axis; ${faults.length} at fault${faults.length === 0 ? '' : `, the first ${faults[0]!.node.name}`}.`,
    data: [
      ...(whole.length === 0 ? [] : [gathered(whole, values[0]!)]),
      ...marks.map((each, at) => scattered(each, values[at + 1]!)),
    ],
    layout: {
      title: titled(
        title,
        `${recording}${reference === null ? '' : ` against ${reference}`}`,
        unseen(values),
      ),
      xaxis: { title: { text: 'node, in the order of the graph' } },
      ...stepMarks(verdict.nodes),
      yaxis: logAxis('energy NMSE', values),
      ...legendAbove(marks.length + (whole.length === 0 ? 0 : 1)),
    },
  };
}

/** Where another step begins, while they are few. */
function stepMarks(nodes: readonly JudgedNode[]): Layout {
  const starts = nodes.flatMap(({ step }, place) =>
    place > 0 && step !== nodes[place - 1]!.step ? [{ step, place }] : [],
  );
  if (starts.length === 0 || starts.length > MOST_STEPS) return {};
  return {
    shapes: starts.map(({ place }) => ({
      type: 'line',
      x0: place - 0.5,
      x1: place - 0.5,
      y0: 0,
      y1: 1,
      yref: 'paper',
      line: { color: NEUTRAL_COLOR, width: 1, dash: 'dot' },
    })),
    annotations: starts.map(({ step, place }) => ({
      text: `step ${step}`,
      x: place,
      xanchor: 'left',
      y: 1,
      yanchor: 'top',
      yref: 'paper',
      showarrow: false,
    })),
  };
}

/** Steps that are marked. */
const MOST_STEPS = 12;

function scattered({ label, color, symbol, nodes }: Marks, values: LogValues): Trace {
  return {
    type: 'scatter',
    mode: 'markers',
    name: label,
    x: nodes.map(({ place }) => place),
    y: values.drawn,
    marker: { color, symbol, size: 8 },
    customdata: nodes.map(({ node }, at) => [node.name, node.op, node.step, values.text[at]!, causeOf(node)]),
    hovertemplate:
      '%{customdata[0]}<br>%{customdata[1]}, step %{customdata[2]}<br>own error %{customdata[3]}%{customdata[4]}<extra></extra>',
  };
}

function causeOf({ cause, widened, isFault }: JudgedNode): string {
  const words = isFault ? cause?.words : widened.length > 0 ? `${widened.join(', ')} operands` : undefined;
  return words === undefined ? '' : `<br>${plainText(words)}`;
}

function gathered(whole: readonly { node: JudgedNode; place: number }[], values: LogValues): Trace {
  return {
    type: 'scatter',
    mode: 'lines',
    name: 'whole run, against the reference',
    x: whole.map(({ place }) => place),
    y: values.drawn,
    line: { color: SERIES_COLORS[0]!, width: 1.5 },
    customdata: whole.map(({ node }, at) => [node.name, values.text[at]!]),
    hovertemplate: '%{customdata[0]}<br>whole run %{customdata[1]}<extra></extra>',
  };
}
