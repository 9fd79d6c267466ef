/**
 * Checkpoints whose numbers mean something else than their dtypes say: weights that are to be multiplied with
 * scales beside them, or packed. transformers undoes that with a library of the method; here they are refused
 * by name, because read as they stand they give a model that is wrong without a word.
 */
import { unmet } from '../../errors.js';
import type { Checkpoint, StoredTensor } from '../../weights/checkpoint.js';
import { configError } from './config-keys.js';

const OP = 'openModelSource';

/**
 * What the known methods put beside a weight or in its place, after its stem, and whose it is. `weighed`:
 * only where `STEM.weight` is there too, because others use such names.
 */
const BESIDE: readonly { suffix: RegExp; method: string; weighed?: boolean }[] = [
  { suffix: /\.(qweight|qzeros|g_idx)$/, method: 'GPTQ or AWQ' },
  {
    suffix: /\.weight_(packed|shape|zero_point|g_idx|global_scale)$/,
    method: 'compressed-tensors',
  },
  { suffix: /\.weight_scale_inv$/, method: 'FP8 in blocks' },
  { suffix: /\.(weight|input|output|activation)_scale(_\d)?$/, method: 'FP8, INT8 or compressed-tensors' },
  {
    suffix:
      /\.(weight\.)?(absmax|quant_map|nested_absmax|nested_quant_map|quant_state\..+|SCB|weight_format)$/,
    method: 'bitsandbytes',
  },
  { suffix: /_proj_(blocks|scales|scale_inv|scale)$/, method: 'MXFP4 or FP8 experts' },
  {
    suffix: /\.lora_(A|B|a|b|embedding_A|embedding_B)(\..+)?$/,
    method: 'a LoRA adapter, which is not merged',
  },
  { suffix: /\.(scales|biases)$/, method: 'MLX, GPTQ or AWQ', weighed: true },
  { suffix: /\.(zeros|scale|zero_point|scale_inv)$/, method: 'HQQ or another method', weighed: true },
];

/**
 * Refuses scales, zero points, packed weights and adapters beside the weights of a folder.
 * @param stored the checkpoint under the names of its files. @throws `BAD_CHECKPOINT` naming the first and
 * how many there are.
 */
export function refuseQuantised(stored: Checkpoint): void {
  const all = new Map<string, StoredTensor>([...stored.tensors, ...stored.unreadable]);
  const found = [...all.values()].flatMap((tensor) => {
    const method = BESIDE.find(({ suffix, weighed }) => {
      const stem = tensor.name.replace(suffix, '');
      return stem !== tensor.name && (weighed !== true || all.has(`${stem}.weight`));
    })?.method;
    return method === undefined ? [] : [{ tensor, method }];
  });
  const [first] = found;
  if (first === undefined) return;
  const { tensor, method } = first;
  throw unmet(
    'BAD_CHECKPOINT',
    OP,
    'weights that are used as they stand',
    `${tensor.name} beside them (${method}; ${found.length} tensors of the kind in ${tensor.file}); dequantise or merge the model with the library that made it`,
    { tensor: tensor.name, dtypes: [tensor.dtype] },
  );
}

/** Keys of config.json that say that the weights are quantised, with the method that each is of. */
const CONFIG_KEYS = {
  quantization_config: 'quant_method',
  compression_config: 'quant_method',
  quantization: 'mode',
} as const;

/** Throws `BAD_CONFIG` for a config that says that the weights are quantised. */
export function refuseQuantisedConfig(
  config: Readonly<Record<string, unknown>>,
  op: string,
  where: string,
): void {
  const quantised = quantisationIn(config);
  if (quantised !== undefined)
    throw configError(
      op,
      'weights that are used as they stand',
      `a quantised model by its ${quantised}; dequantise it with the library that made it`,
      where,
    );
}

/** What a config says of quantised weights, for an error; undefined where it says nothing. */
function quantisationIn(config: Readonly<Record<string, unknown>>): string | undefined {
  for (const [key, method] of Object.entries(CONFIG_KEYS)) {
    const value = config[key] as Record<string, unknown> | null | undefined | false;
    if (value === undefined || value === null || value === false) continue;
    const { [method]: name, bits, group_size: group } = typeof value === 'object' ? value : {};
    const details = [
      ...(typeof name === 'string' ? [name.slice(0, 40)] : []),
      ...(typeof bits === 'number' ? [`${bits} bits`] : []),
      ...(typeof group === 'number' ? [`groups of ${group}`] : []),
    ];
    const maker = key === 'quantization' ? 'MLX' : undefined;
    const text = [...(maker === undefined ? [] : [maker]), ...details].join(', ');
    return `${key}${text === '' ? '' : ` (${text})`}`;
  }
  return undefined;
}
