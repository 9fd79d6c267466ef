/** Lines that lie within this share of each other everywhere cannot be told apart on a logarithmic axis. */
const CLOSE = 0.15;

/** A note for a figure's subtitle: which lines lie on one another; empty where none does. */
export function hiddenLines(lines: readonly { label: string; values: readonly number[] }[]): string {
  const groups: { label: string; values: readonly number[] }[][] = [];
  for (const line of lines) {
    const group = groups.find(([first]) => liesOn(first!.values, line.values));
    if (group === undefined) groups.push([line]);
    else group.push(line);
  }
  return groups
    .filter(({ length }) => length > 1)
    .map((group) => `${group.map(({ label }) => label).join(' and ')} lie on one another`)
    .join(', ');
}

function liesOn(a: readonly number[], b: readonly number[]): boolean {
  return (
    a.length === b.length &&
    a.length > 0 &&
    a.every((value, at) => {
      const other = b[at]!;
      return value === other || (value > 0 && other > 0 && Math.abs(Math.log(value / other)) < CLOSE);
    })
  );
}
