import { Step } from './step.js';

/** Ids put before and after those of a text. */
export interface Around {
  before: readonly number[];
  after: readonly number[];
}

const NONE: Around = { before: [], after: [] };

/**
 * What the post-processor of a tokenizer.json adds to one text.
 *
 * @param idOf the id of a token, undefined where there is none.
 * @throws `BAD_CONFIG` for one that is malformed or not supported.
 */
export function tokensAround(
  json: unknown,
  idOf: (token: string) => number | undefined,
  source: string,
): Around {
  if (json === null || json === undefined) return NONE;
  const step = new Step(json, 'post-processor', source);
  switch (step.type) {
    case 'ByteLevel':
      return NONE;
    case 'Sequence':
      return step
        .list('processors')
        .map((each) => tokensAround(each, idOf, source))
        .reduce(
          (all, each) => ({
            before: [...each.before, ...all.before],
            after: [...all.after, ...each.after],
          }),
          NONE,
        );
    case 'BertProcessing':
    case 'RobertaProcessing': {
      const id = (name: string): number => {
        const pair = step.list(name);
        if (!Number.isInteger(pair[1])) throw step.bad(`a token and its id as ${name}`, pair[1]);
        return pair[1] as number;
      };
      return { before: [id('cls')], after: [id('sep')] };
    }
    case 'TemplateProcessing':
      return template(step, idOf);
    default:
      throw step.unsupported();
  }
}

function template(step: Step, idOf: (token: string) => number | undefined): Around {
  const known = (step.field('special_tokens') ?? {}) as Record<string, { ids?: unknown } | undefined>;
  const parts: [before: number[], after: number[]] = [[], []];
  let side = 0;
  for (const piece of step.list('single')) {
    const { SpecialToken: special, Sequence: sequence } = (piece ?? {}) as {
      SpecialToken?: { id?: unknown };
      Sequence?: { id?: unknown };
    };
    if (sequence?.id === 'A' && side === 0) side = 1;
    else if (typeof special?.id === 'string') {
      const { ids } = (Object.hasOwn(known, special.id) ? known[special.id] : undefined) ?? {};
      const own = Array.isArray(ids) ? ids : [idOf(special.id)];
      if (!own.every((id) => Number.isInteger(id) && (id as number) >= 0))
        throw step.bad(`ids of the special token ${JSON.stringify(special.id)}`, own[0]);
      parts[side]!.push(...(own as number[]));
    } else throw step.bad('special tokens around one sequence A in single of TemplateProcessing', piece);
  }
  if (side === 0) throw step.bad('a sequence A in single of TemplateProcessing', undefined);
  return { before: parts[0], after: parts[1] };
}
