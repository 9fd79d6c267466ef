/** What a node is called beyond its graph: its tap, in later steps than the first `TAP@STEP`. */
export function nodeLabel(tap: string, step: number): string {
  return step === 0 ? tap : `${tap}@${step}`;
}
