/** Largest energy NMSE that the demo allows between the F32 run and PyTorch in F32. */
export const MOST_NMSE = 1e-10;

/**
 * What keeps a run from passing the demo, one line each; empty if nothing does.
 * @param report a `DiffReport` against the F32 reference.
 * @param names taps that must have been compared.
 */
export function demoProblems(report, names) {
  const compared = new Map(report.tapReports.map((tap) => [tap.name, tap]));
  const problems = names.filter((name) => !compared.has(name)).map((name) => `${name} was not compared`);
  for (const { tap, file, reason } of report.unpaired) problems.push(`${tap ?? file} ${reason}`);
  for (const tap of compared.values())
    if (tap.nonFinite !== null && tap.nonFinite.counted > 0)
      problems.push(`${tap.name} has ${tap.nonFinite.counted} values that are NaN or infinite`);
    else if (tap.kind === 'float' && !(tap.metrics.nmse <= MOST_NMSE))
      problems.push(`${tap.name} has an energy NMSE of ${tap.metrics.nmse.toExponential(2)}`);
    else if (tap.kind === 'integer' && tap.metrics.differing > 0)
      problems.push(`${tap.name} differs for ${tap.metrics.differing} tokens`);
  if (!report.pass && problems.length === 0) problems.push('the diff does not pass');
  return problems;
}
