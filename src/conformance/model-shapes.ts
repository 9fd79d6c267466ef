import type { Shape } from '../graph/shape.js';
import { architectureOf, parseConfig } from '../models/architectures.js';
import type { ModelConfig } from '../models/runtime/architecture.js';

/**
 * Sizes of a model that its ops see. Inner sizes, along which sums run, are the model's; rows of matrices and
 * experts are fewer, so that a run stays short.
 */
export interface ModelShapes {
  /** For the table. */
  name: string;
  hidden: number;
  heads: number;
  kvHeads: number;
  headDim: number;
  /** Even; see `rotaryDim` of the config. */
  rotary: number;
  rotaryBase: number;
  /** Classes of the router: experts and the one that skips. */
  classes: number;
  ffn: number;
  router: number;
  /** Channels of the convolutions. */
  channels: number;
  /** Kernel sizes: depthwise, grouped. */
  kernels: readonly [number, number];
}

/**
 * Tokens of a call: no multiple of any tile, and beyond the 8 up to which devices multiply a matrix with
 * vectors one by one.
 */
export const TOKENS = 13;

/** Most rows of a matrix and most matrices. */
const MOST_ROWS = 33;
const MOST_EXPERTS = 5;
/** Of a model without experts. */
const FEW_CLASSES = 4;

/**
 * Sizes of a config. What a family has not (a router's width, convolutions) takes a size of the rest of the
 * model, so that every op is run.
 */
export function modelShapes(name: string, config: ModelConfig): ModelShapes {
  const architecture = architectureOf(config);
  const axes = architecture.axes(config);
  const { rotary, theta } = architecture.attention(config, config.layer_types[0]!);
  const { num_attention_heads: heads, num_key_value_heads: kvHeads, head_dim: headDim } = config;
  const [lead = 1, looksBack = 2] = [axes.leads, axes.L];
  return {
    name,
    hidden: config.hidden_size,
    heads,
    kvHeads,
    headDim,
    rotary: 2 * Math.floor(rotary / 2),
    rotaryBase: theta,
    classes: architecture.classes(config) || FEW_CLASSES,
    ffn: axes.F!,
    router: axes.R ?? config.hidden_size,
    channels: axes.C ?? (heads + kvHeads) * headDim,
    kernels: [looksBack - lead + 1, lead + 1],
  };
}

/** What is run without a model: the sizes of ZAYA1-8B, and of a tiny model of the same architecture. */
export function usualShapes(): ModelShapes[] {
  const tiny = {
    hidden_size: 128,
    head_dim: 16,
    num_hidden_layers: 1,
    moe_intermediate_size: 64,
    num_experts: 8,
    router_hidden_size: 32,
  };
  const type = { model_type: 'zaya' };
  return [modelShapes('tiny', parseConfig({ ...type, ...tiny })), modelShapes('ZAYA1-8B', parseConfig(type))];
}

/** Shapes by operand, with where they are from. */
export type NamedShapes = readonly { from: string; shapes: Readonly<Record<string, Shape>> }[];

/** The same operands in every model. */
export function perModel(
  models: readonly ModelShapes[],
  shapes: (model: ModelShapes) => Readonly<Record<string, Shape>>,
): NamedShapes {
  return models.map((model) => ({ from: model.name, shapes: shapes(model) }));
}

/** Shapes that no model has: odd sizes, single elements, more axes. */
export function others(...shapes: readonly Readonly<Record<string, Shape>>[]): NamedShapes {
  const name = (sizes: readonly Shape[]) => {
    if (sizes.every((shape) => shape.every((size) => size === 1))) return 'size one';
    return sizes.some((shape) => shape.length > 2) ? 'batch' : 'odd';
  };
  return shapes.map((each) => ({ from: name(Object.values(each)), shapes: each }));
}

/** Rows of a matrix in place of the model's. */
export function fewRows(rows: number): number {
  return Math.min(rows, MOST_ROWS);
}

/** Matrices in place of the model's experts. */
export function fewExperts(classes: number): number {
  return Math.min(classes - 1, MOST_EXPERTS);
}
