/** Whether pairs of weights are right, by what the GGUF file was made of. */
import type { WeightsDiffReport } from '../../src/index.js';
import type { Sources } from './tiny-models.js';

/** Pairs that the conversion says otherwise, and tensors without a pair. */
export function judgeWeights(
  { tensors }: Pick<WeightsDiffReport, 'tensors'>,
  made: Sources[string],
): { wrong: string[]; missed: string[] } {
  const found = new Map(tensors.map(({ from, name }) => [from!, namesOf(name)]));
  const wrong = [...found].flatMap(([from, names]) => {
    const right = made[from] ?? [];
    const isRight = String([...names].sort()) === String(right);
    return isRight ? [] : [`${from} <- ${[...names]}, not ${right}`];
  });
  return { wrong, missed: Object.keys(made).filter((from) => !found.has(from)) };
}

/**
 * The reference's tensors: `a + b`, and `experts.{0..7}.w`. Checkpoints on disk hold experts apart that the
 * model stacks, gate and up joined, and may have an older name.
 */
function namesOf(name: string): Set<string> {
  return new Set(
    name.split(' + ').map((each) =>
      each
        .replace(/^embed_out\.weight$/, 'lm_head.weight')
        .replace(/\.experts\.(\{\d+\.\.\d+\}|\d+)\.(gate|up)_proj\.weight$/, '.experts.gate_up_proj')
        .replace(/\.experts\.(\{\d+\.\.\d+\}|\d+)\.down_proj\.weight$/, '.experts.down_proj'),
    ),
  );
}
