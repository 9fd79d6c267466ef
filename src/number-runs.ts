/** Runs of numbers that follow each other. @param sorted ascending, each once. */
export function numberRuns(sorted: readonly number[]): { first: number; last: number }[] {
  const found: { first: number; last: number }[] = [];
  for (const number of sorted) {
    const last = found.at(-1);
    if (last !== undefined && last.last + 1 === number) last.last = number;
    else found.push({ first: number, last: number });
  }
  return found;
}
