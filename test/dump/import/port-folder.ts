/**
 * A folder as `zayascope_dump.h` writes it, with the names and layouts of the public llama.cpp port, made
 * from a dump of the reference.
 */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { TapElements } from '../../../src/dump/float.js';
import type { Dump } from '../../../src/dump/reader.js';

/** Vocabulary that the port keeps: two padding rows fewer. */
export const PORT_VOCABULARY = 257;
/** Cache positions are padded up to this. */
const CACHE = 256;

interface PortValue {
  name: string;
  /** Slowest axis first. */
  shape: readonly number[];
  data: TapElements;
}

/** One value per name: attention of block l is half-layer 2l, its MoE 2l + 1. */
export async function portValues(dump: Dump): Promise<PortValue[]> {
  const read = async (tap: string): Promise<{ shape: readonly number[]; data: TapElements }> =>
    dump.read(tap);
  const blocks = 1 + Math.max(...dump.taps.map(({ block }) => block ?? -1));
  const values: PortValue[] = [];
  const put = async (name: string, tap: string): Promise<void> => {
    values.push({ name, ...(await read(tap)) });
  };
  await put('inp_embd', 'embed_tokens');
  await put('res_scale_hs-0', 'input_affine');
  await put('residual-0', 'input_affine');
  for (let l = 0; l < blocks; l++) {
    const [a, m] = [2 * l, 2 * l + 1];
    const [block, cca, attention] = [
      `layers.${l}`,
      `layers.${l}.self_attn.qkv_proj`,
      `layers.${l}.self_attn`,
    ];
    const gate = `${block}.mlp.gate`;
    const after = l === blocks - 1 ? (name: string) => `final_${name}` : (name: string) => `${name}-${a + 2}`;
    for (const [name, tap] of [
      [`input_norm-${a}`, `${block}.input_layernorm`],
      [`Qraw-${a}`, `${cca}.q_proj`],
      [`Kraw-${a}`, `${cca}.k_proj`],
      [`qk_mean_q-${a}`, `${cca}:query_residual`],
      [`qk_mean_k-${a}`, `${cca}:key_residual`],
      [`V1-${a}`, `${cca}.v_proj_current`],
      [`V2-${a}`, `${cca}:value_delayed`],
      [`Vcur-${a}`, `${cca}:value`],
      [`Qcur_pre_rope-${a}`, `${attention}.qk_norm:query`],
      [`Kcur_pre_rope-${a}`, `${attention}.qk_norm:key`],
      [`Qcur-${a}`, `${attention}:query_rope`],
      [`Kcur-${a}`, `${attention}:key_rope`],
      [`kqv_out-${a}`, `${attention}:attn_output`],
      [`attn_out-${a}`, `${attention}.o_proj`],
      [`res_scale_hs-${m}`, `${block}.post_attention_residual_scale:hidden_states`],
      [`res_scale_res-${m}`, `${block}.post_attention_residual_scale:residual`],
      [`residual-${m}`, `${block}.post_attention_residual_scale`],
      [`input_norm-${m}`, `${block}.post_attention_layernorm`],
      [`router_down-${m}`, `${gate}.down_proj`],
      ...(l === 0 ? [] : [[`router_eda-${m}`, `${gate}:router_hidden_states`] as const]),
      [`router_norm-${m}`, `${gate}.router_mlp.norm`],
      [`router_mlp0-${m}`, `${gate}.router_mlp:act1`],
      [`router_mlp2-${m}`, `${gate}.router_mlp:act2`],
      [`router_logits-${m}`, `${gate}.router_mlp.out_proj`],
      [`router_probs-${m}`, `${gate}:router_probs`],
      [`ffn_moe_topk-${m}`, `${gate}:expert`],
      [`ffn_moe_weights-${m}`, `${gate}:expert_weight`],
      [`ffn_moe_gate_up-${m}`, `${block}.mlp.experts:gate_up`],
      [`ffn_moe_swiglu-${m}`, `${block}.mlp.experts:activated`],
      [`ffn_moe_down-${m}`, `${block}.mlp.experts:down`],
      [`moe_out-${m}`, `${block}.mlp.experts`],
      [after('res_scale_hs'), `${block}.post_mlp_residual_scale:hidden_states`],
      [after('res_scale_res'), `${block}.post_mlp_residual_scale:residual`],
      [after('residual'), block],
    ] as const)
      await put(name, tap);
    values.push(
      { name: `cca_hs_d-${a}`, ...(await read(`${block}.input_layernorm`)) },
      { name: `QK_dw-${a}`, ...transposed(await readAfterLead(dump, `${cca}.conv_qk_depthwise`)) },
      { name: `cca_conv_input-${a}`, ...transposed(afterState(await read(`${cca}:conv_input`))) },
      { name: `QK_grp-${a}`, ...transposed(await read(`${cca}.conv_qk_grouped`)) },
      { name: `kq_soft_max-${a}`, ...padded(await read(`${attention}:attn_weights`)) },
      { name: `ffn_moe_probs_biased-${m}`, ...cut(await read(`${gate}:biased_router_probs`), -1) },
    );
  }
  await put('result_norm', 'norm');
  values.push({ name: 'result_output', ...cut(await read('lm_head'), PORT_VOCABULARY) });
  return values;
}

/** Taps of the reference that {@link portValues} shows nothing of. */
export const NOT_IN_PORT = /:query$|:key$|v_proj_delayed$|router_mlp\.fc[12]$|gate:margin$/;

/** Writes values of one graph. */
export function writePortFolder(
  folder: string,
  values: readonly PortValue[],
  tokens: readonly number[],
): void {
  const lines: object[] = [
    { format: 'zayascope-llamacpp', version: 1, system: 'CPU' },
    { position: 0, tokens },
    { graph: 0, rows: tokens.length },
  ];
  const parts: Uint8Array[] = [];
  let offset = 0;
  for (const { name, shape, data } of values) {
    const type = data instanceof Float32Array ? 'F32' : 'I32';
    const ne = [...shape].reverse();
    while (ne.length < 4) ne.push(1);
    lines.push({ name, graph: 0, type, ne, offset });
    parts.push(new Uint8Array(data.buffer, data.byteOffset, data.byteLength));
    offset += data.byteLength;
  }
  lines.push({ finished: true });
  writeFileSync(join(folder, 'index.jsonl'), lines.map((line) => `${JSON.stringify(line)}\n`).join(''));
  writeFileSync(join(folder, 'tensors.bin'), Buffer.concat(parts));
}

type Value = Omit<PortValue, 'name'>;

function transposed({ shape, data }: Value): Value {
  const [rows, columns] = shape as [number, number];
  const out = new Float32Array(data.length);
  for (let row = 0; row < rows; row++)
    for (let column = 0; column < columns; column++) out[column * rows + row] = data[row * columns + column]!;
  return { shape: [columns, rows], data: out };
}

/** Two rows of state in front, which are no tokens'. */
function afterState({ shape, data }: Value): Value {
  const [rows, columns] = shape as [number, number];
  const out = new Float32Array((rows + 2) * columns).fill(-7);
  out.set(data, 2 * columns);
  return { shape: [rows + 2, columns], data: out };
}

async function readAfterLead(dump: Dump, tap: string): Promise<Value> {
  const [lead, rest] = [await dump.read(`${tap}:lead`), await dump.read(tap)];
  const out = new Float32Array(lead.data.length + rest.data.length);
  out.set(lead.data);
  out.set(rest.data, lead.data.length);
  return { shape: [rest.shape[0]! + 1, rest.shape[1]!], data: out };
}

/** [T, heads, S] as [heads, T, padded S]. */
function padded({ shape, data }: Value): Value {
  const [rows, heads, seen] = shape as [number, number, number];
  const out = new Float32Array(heads * rows * CACHE);
  for (let row = 0; row < rows; row++)
    for (let head = 0; head < heads; head++)
      out.set(
        data.subarray((row * heads + head) * seen, (row * heads + head + 1) * seen),
        (head * rows + row) * CACHE,
      );
  return { shape: [heads, rows, CACHE], data: out };
}

/** The first `columns` of each row; negative: without as many at the end. */
function cut({ shape, data }: Value, columns: number): Value {
  const [rows, width] = shape as [number, number];
  const kept = columns < 0 ? width + columns : columns;
  const out = new Float32Array(rows * kept);
  for (let row = 0; row < rows; row++) out.set(data.subarray(row * width, row * width + kept), row * kept);
  return { shape: [rows, kept], data: out };
}
