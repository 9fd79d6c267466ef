"""Random tiny models of transformers architectures that libllama knows too, and their GGUF files from the same weights."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import torch
import transformers

WIDTH, BLOCKS, VOCABULARY, CONTEXT = 256, 3, 320, 512
HEADS, KV_HEADS, HEAD, FEED_FORWARD = 4, 2, 64, 512
SIZES = {"vocab_size": VOCABULARY, "hidden_size": WIDTH, "num_hidden_layers": BLOCKS, "max_position_embeddings": CONTEXT}
DENSE = {**SIZES, "num_attention_heads": HEADS, "num_key_value_heads": KV_HEADS, "intermediate_size": FEED_FORWARD}
PLAIN = {"tie_word_embeddings": False, "bos_token_id": None, "eos_token_id": None, "pad_token_id": None}
Weights = dict[str, np.ndarray]


@dataclass(frozen=True)
class Family:
    """`config`: transformers' class and its arguments. `keys`: metadata without the architecture's prefix. `weights`: GGUF's, by name."""

    arch: str
    config: Callable[..., Any]
    arguments: dict[str, Any]
    keys: Callable[[Any], dict[str, Any]]
    weights: Callable[[Weights, Any], Iterator[tuple[str, np.ndarray]]]


def common(config: Any) -> dict[str, Any]:
    """Keys that every decoder with attention has."""
    head = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    rope = getattr(config, "rope_parameters", None) or {}
    keys = {
        "attention.head_count": config.num_attention_heads,
        "attention.head_count_kv": config.num_key_value_heads,
        "attention.key_length": head,
        "attention.value_length": head,
        "feed_forward_length": config.intermediate_size,
        "rope.dimension_count": head,
        "attention.layer_norm_rms_epsilon": float(getattr(config, "rms_norm_eps", 1e-6)),
    }
    if "rope_theta" in rope:
        keys["rope.freq_base"] = float(rope["rope_theta"])
    return keys


def named(arch: str, weights: Weights) -> Iterator[tuple[str, np.ndarray]]:
    """Weights under the names that gguf-py's table gives them."""
    table = gguf.get_tensor_name_map(next(key for key, name in gguf.MODEL_ARCH_NAMES.items() if name == arch), BLOCKS)
    for name, value in weights.items():
        found = table.get_name(name, try_suffixes=(".weight", ".bias"))
        assert found is not None, f"{arch}: no GGUF name for {name}"
        yield found, value


def paired(weight: np.ndarray, heads: int) -> np.ndarray:
    """Rows of each head from halves to neighbours, as llama.cpp's rotation of this architecture has them."""
    return weight.reshape(heads, 2, weight.shape[0] // heads // 2, *weight.shape[1:]).swapaxes(1, 2).reshape(weight.shape)


def plain(arch: str) -> Callable[[Weights, Any], Iterator[tuple[str, np.ndarray]]]:
    return lambda weights, _: named(arch, weights)


def rotated(arch: str) -> Callable[[Weights, Any], Iterator[tuple[str, np.ndarray]]]:
    def convert(weights: Weights, config: Any) -> Iterator[tuple[str, np.ndarray]]:
        for name, value in weights.items():
            if "q_proj" in name:
                weights[name] = paired(value, config.num_attention_heads)
            if "k_proj" in name:
                weights[name] = paired(value, config.num_key_value_heads)
        return named(arch, weights)

    return convert


def without_experts(weights: Weights) -> tuple[Weights, list[tuple[str, np.ndarray]]]:
    """Stacks of experts under GGUF's names, and all other weights."""
    rest: Weights = {}
    stacks: list[tuple[str, np.ndarray]] = []
    for name, value in weights.items():
        if ".experts." not in name:
            rest[name] = value
            continue
        block = name.split(".layers.")[1].split(".")[0]
        if name.endswith("gate_up_proj"):
            half = value.shape[1] // 2
            stacks += [(f"blk.{block}.ffn_gate_exps.weight", value[:, :half]), (f"blk.{block}.ffn_up_exps.weight", value[:, half:])]
        else:
            assert name.endswith("down_proj"), name
            stacks.append((f"blk.{block}.ffn_down_exps.weight", value))
    return rest, stacks


def moe(arch: str) -> Callable[[Weights, Any], Iterator[tuple[str, np.ndarray]]]:
    def convert(weights: Weights, _: Any) -> Iterator[tuple[str, np.ndarray]]:
        rest, stacks = without_experts(weights)
        yield from named(arch, rest)
        yield from stacks

    return convert


def gemma(arch: str) -> Callable[[Weights, Any], Iterator[tuple[str, np.ndarray]]]:
    return lambda weights, _: named(arch, {name: value + 1 if name.endswith("norm.weight") else value for name, value in weights.items()})


def gptneox(weights: Weights, config: Any) -> Iterator[tuple[str, np.ndarray]]:
    """Query, key and value of each head one after the other: GGUF has those of all heads."""
    parts = (config.num_attention_heads, 3, config.hidden_size // config.num_attention_heads)
    for name, value in weights.items():
        if "query_key_value" in name:
            weights[name] = value.reshape(*parts, *value.shape[1:]).swapaxes(0, 1).reshape(value.shape)
    return named("gptneox", weights)


def gpt2(weights: Weights, _: Any) -> Iterator[tuple[str, np.ndarray]]:
    kept = {name.replace("transformer.", ""): value for name, value in weights.items() if not name.endswith((".attn.bias", "masked_bias"))}
    isMatrix = (".c_attn.weight", ".c_proj.weight", ".c_fc.weight")
    return named("gpt2", {name: value.T if name.endswith(isMatrix) else value for name, value in kept.items()})


def mamba2(weights: Weights, config: Any) -> Iterator[tuple[str, np.ndarray]]:
    for name, value in weights.items():
        if name.endswith(".A_log"):
            yield name.replace("backbone.layers.", "blk.").replace(".mixer.A_log", ".ssm_a"), -np.exp(value).reshape(-1, 1)
        elif name.endswith(".D"):
            yield name.replace("backbone.layers.", "blk.").replace(".mixer.D", ".ssm_d"), value.reshape(-1, 1)
        elif name.endswith("dt_bias"):
            yield name.replace("backbone.layers.", "blk.").replace(".mixer.dt_bias", ".ssm_dt.bias"), value
        elif name.endswith("conv1d.weight"):
            yield from named("mamba2", {name: value.squeeze(1)})
        elif name.endswith("mixer.norm.weight"):
            yield from named("mamba2", {name: value.reshape(config.n_groups, -1)})
        else:
            yield from named("mamba2", {name: value})


def deepseek2(weights: Weights, config: Any) -> Iterator[tuple[str, np.ndarray]]:
    rest, stacks = without_experts(weights)
    kept: Weights = {}
    for name, value in rest.items():
        if not name.endswith("kv_b_proj.weight"):
            kept[name.replace("e_score_correction_bias", "e_score_correction.bias")] = value
            continue
        block = name.split(".layers.")[1].split(".")[0]
        both = value.reshape(config.num_attention_heads, config.qk_nope_head_dim + config.v_head_dim, config.kv_lora_rank)
        yield f"blk.{block}.attn_k_b.weight", both[:, : config.qk_nope_head_dim].transpose(0, 2, 1)
        yield f"blk.{block}.attn_v_b.weight", both[:, config.qk_nope_head_dim :]
    yield from named("deepseek2", kept)
    yield from stacks


def lfm2(weights: Weights, _: Any) -> Iterator[tuple[str, np.ndarray]]:
    return named("lfm2", {name: value.squeeze(1) if name.endswith("conv.conv.weight") else value for name, value in weights.items()})


def moe_keys(config: Any) -> dict[str, Any]:
    return common(config) | {
        "expert_count": config.num_experts,
        "expert_used_count": config.num_experts_per_tok,
        "expert_feed_forward_length": config.moe_intermediate_size,
    }


def norm_keys(config: Any) -> dict[str, Any]:
    """Of models with LayerNorm."""
    names = ("norm_epsilon", "layer_norm_epsilon", "layer_norm_eps")
    epsilon = next(value for value in (getattr(config, each, None) for each in names) if value)
    return {"attention.layer_norm_epsilon": float(epsilon)}


def deepseek_keys(config: Any) -> dict[str, Any]:
    return common(config) | {
        "attention.head_count_kv": 1,
        "attention.q_lora_rank": config.q_lora_rank,
        "attention.kv_lora_rank": config.kv_lora_rank,
        "attention.key_length": config.kv_lora_rank + config.qk_rope_head_dim,
        "attention.value_length": config.kv_lora_rank,
        "attention.key_length_mla": config.qk_nope_head_dim + config.qk_rope_head_dim,
        "attention.value_length_mla": config.v_head_dim,
        "rope.dimension_count": config.qk_rope_head_dim,
        "leading_dense_block_count": config.first_k_dense_replace,
        "expert_count": config.n_routed_experts,
        "expert_used_count": config.num_experts_per_tok,
        "expert_feed_forward_length": config.moe_intermediate_size,
        "expert_shared_count": config.n_shared_experts,
        "expert_weights_scale": float(config.routed_scaling_factor),
        "expert_weights_norm": bool(config.norm_topk_prob),
        "expert_gating_func": 2,
    }


FAMILIES: dict[str, Family] = {
    "llama": Family("llama", transformers.LlamaConfig, {**DENSE, "head_dim": HEAD}, common, rotated("llama")),
    "qwen2": Family("qwen2", transformers.Qwen2Config, DENSE, common, plain("qwen2")),
    "qwen3": Family("qwen3", transformers.Qwen3Config, {**DENSE, "head_dim": HEAD}, common, plain("qwen3")),
    "qwen3moe": Family(
        "qwen3moe",
        transformers.Qwen3MoeConfig,
        {**DENSE, "head_dim": HEAD, "num_experts": 8, "num_experts_per_tok": 3, "moe_intermediate_size": 256, "norm_topk_prob": True},
        moe_keys,
        moe("qwen3moe"),
    ),
    "gemma3": Family(
        "gemma3",
        transformers.Gemma3TextConfig,
        {**DENSE, "head_dim": HEAD, "query_pre_attn_scalar": HEAD, "sliding_window": 9},
        lambda config: common(config) | {"attention.sliding_window": config.sliding_window, "rope.freq_base": 1e6},
        gemma("gemma3"),
    ),
    "gpt2": Family(
        "gpt2",
        transformers.GPT2Config,
        {"vocab_size": VOCABULARY, "n_embd": WIDTH, "n_layer": BLOCKS, "n_head": HEADS, "n_positions": CONTEXT},
        lambda config: norm_keys(config) | {"attention.head_count": config.n_head, "feed_forward_length": 4 * config.n_embd},
        gpt2,
    ),
    "phi3": Family("phi3", transformers.Phi3Config, DENSE, common, plain("phi3")),
    "olmo2": Family("olmo2", transformers.Olmo2Config, DENSE, common, plain("olmo2")),
    "starcoder2": Family(
        "starcoder2",
        transformers.Starcoder2Config,
        {**DENSE, "sliding_window": None},
        lambda config: {key: value for key, value in common(config).items() if "rms" not in key} | norm_keys(config),
        plain("starcoder2"),
    ),
    "mamba2": Family(
        "mamba2",
        transformers.Mamba2Config,
        {"vocab_size": VOCABULARY, "hidden_size": WIDTH, "num_hidden_layers": BLOCKS, "num_heads": 8, "head_dim": 64}
        | {"state_size": 32, "n_groups": 1, "expand": 2, "chunk_size": 8},
        lambda config: {
            "attention.layer_norm_rms_epsilon": float(config.layer_norm_epsilon),
            "attention.head_count": 0,
            "feed_forward_length": 0,
            "ssm.conv_kernel": config.conv_kernel,
            "ssm.inner_size": config.expand * config.hidden_size,
            "ssm.state_size": config.state_size,
            "ssm.time_step_rank": config.num_heads,
            "ssm.group_count": config.n_groups,
        },
        mamba2,
    ),
    "deepseek2": Family(
        "deepseek2",
        transformers.DeepseekV3Config,
        {**DENSE, "num_key_value_heads": HEADS, "q_lora_rank": 96, "kv_lora_rank": 128, "qk_nope_head_dim": 32, "qk_rope_head_dim": 32}
        | {"v_head_dim": 64, "n_routed_experts": 8, "num_experts_per_tok": 3, "moe_intermediate_size": 256, "n_shared_experts": 1}
        | {"first_k_dense_replace": 1, "n_group": 1, "topk_group": 1, "routed_scaling_factor": 1.5, "norm_topk_prob": True},
        deepseek_keys,
        deepseek2,
    ),
    "lfm2": Family(
        "lfm2",
        transformers.Lfm2Config,
        {**DENSE, "block_auto_adjust_ff_dim": False, "layer_types": ["conv", "full_attention", "conv"], "norm_eps": 1e-5},
        lambda config: common(config)
        | {
            "attention.layer_norm_rms_epsilon": config.norm_eps,
            "attention.head_count_kv": [KV_HEADS if kind == "full_attention" else 0 for kind in config.layer_types],
            "shortconv.l_cache": config.conv_L_cache,
        },
        lfm2,
    ),
    "granite": Family(
        "granite",
        transformers.GraniteConfig,
        {**DENSE, "embedding_multiplier": 3.0, "attention_multiplier": 0.1, "residual_multiplier": 0.5, "logits_scaling": 2.0},
        lambda config: common(config)
        | {
            "embedding_scale": config.embedding_multiplier,
            "attention.scale": config.attention_multiplier,
            "residual_scale": config.residual_multiplier,
            "logit_scale": config.logits_scaling,
        },
        rotated("granite"),
    ),
}


#: Families on which no rule of `align` was made: what it says of them is what it says of any other.
HELD_OUT: dict[str, Family] = {
    "gemma2": Family(
        "gemma2",
        transformers.Gemma2Config,
        {**DENSE, "head_dim": HEAD, "query_pre_attn_scalar": HEAD, "sliding_window": 9, "tie_word_embeddings": True},
        lambda config: common(config)
        | {
            "attention.sliding_window": config.sliding_window,
            "attn_logit_softcapping": config.attn_logit_softcapping,
            "final_logit_softcapping": config.final_logit_softcapping,
        },
        gemma("gemma2"),
    ),
    "glm4": Family(
        "glm4",
        transformers.Glm4Config,
        {**DENSE, "head_dim": HEAD, "attention_bias": True},
        lambda config: common(config) | {"rope.dimension_count": HEAD // 2},
        plain("glm4"),
    ),
    "cohere2": Family(
        "cohere2",
        transformers.Cohere2Config,
        {**DENSE, "sliding_window": 9, "tie_word_embeddings": True},
        lambda config: common(config)
        | norm_keys(config)
        | {"attention.sliding_window": config.sliding_window, "logit_scale": config.logit_scale},
        plain("cohere2"),
    ),
    "stablelm": Family(
        "stablelm",
        transformers.StableLmConfig,
        DENSE,
        lambda config: common(config) | norm_keys(config) | {"rope.dimension_count": HEAD // 4},
        plain("stablelm"),
    ),
    "exaone4": Family("exaone4", transformers.Exaone4Config, {**DENSE, "head_dim": HEAD, "sliding_window": None, "layer_types": ["full_attention"] * BLOCKS}, common, plain("exaone4")),
    "gptneox": Family(
        "gptneox",
        transformers.GPTNeoXConfig,
        {key: value for key, value in DENSE.items() if key != "num_key_value_heads"},
        lambda config: norm_keys(config)
        | {
            "attention.head_count": config.num_attention_heads,
            "feed_forward_length": config.intermediate_size,
            "rope.dimension_count": HEAD // 4,
            "use_parallel_residual": config.use_parallel_residual,
        },
        gptneox,
    ),
    "olmoe": Family(
        "olmoe",
        transformers.OlmoeConfig,
        {**DENSE, "num_experts": 8, "num_experts_per_tok": 3, "intermediate_size": 256, "num_key_value_heads": HEADS},
        lambda config: common(config) | {"expert_count": config.num_experts, "expert_used_count": config.num_experts_per_tok},
        moe("olmoe"),
    ),
}
FAMILIES |= HELD_OUT


def model_of(name: str, seed: int = 7, **changes: Any) -> Any:
    """A model whose values all differ from each other: norms are no ones, biases no zeros."""
    family = FAMILIES[name]
    config = family.config(**{**PLAIN, **family.arguments, **changes})
    torch.manual_seed(seed)
    options = {"attn_implementation": "eager", "experts_implementation": "eager"} if name != "mamba2" else {}
    model = transformers.AutoModelForCausalLM.from_config(config, **options).eval()
    torch.manual_seed(seed + 1)
    with torch.no_grad():
        for path, weight in sorted(model.named_parameters()):
            if path.endswith("A_log"):
                continue
            if weight.dim() == 1:
                centre = 0.0 if path.endswith("bias") or name.startswith("gemma") else 1.0
                weight.copy_(centre + 0.3 * torch.randn(weight.shape))
            elif "conv" in path and weight.dim() == 3:
                weight.copy_(torch.randn(weight.shape) * 0.5)
            else:
                weight.copy_(torch.randn(weight.shape) * (1.0 if "embed" in path or "wte" in path else 1.2 / weight.shape[-1] ** 0.5))
        for path, buffer in sorted(model.named_buffers()):
            if path.endswith("e_score_correction_bias"):
                buffer.copy_(0.1 * torch.randn(buffer.shape))
    return model


def sources(name: str, model: Any) -> dict[str, list[str]]:
    """Which weights of the model each tensor of its GGUF file is made of: by converting numbers that stand for weights."""
    state = {path: value for path, value in model.state_dict().items()}
    if model.config.tie_word_embeddings:
        state.pop("lm_head.weight", None)
    numbers = {path: (k + 1) / 2048 for k, path in enumerate(state)}
    weights = {path: np.full(value.shape, numbers[path], np.float64) for path, value in state.items()}
    found = {}
    for tensor, value in FAMILIES[name].weights(weights, model.config):
        plain = np.where(value < 0, np.log(np.abs(value)), np.where(value > 1, value - 1, value))
        found[tensor] = sorted(path for path, number in numbers.items() if np.isclose(plain, number, atol=1e-9).any())
        assert found[tensor], f"{tensor} is made of no weight"
    return found


def write_gguf(
    name: str,
    model: Any,
    path: Path,
    quantised: str | None = None,
    keys: dict[str, Any] | None = None,
    alter: Callable[[list[tuple[str, np.ndarray]]], list[tuple[str, np.ndarray]]] | None = None,
) -> None:
    """The model as a GGUF file without a vocabulary; matrices in `quantised` where given (by gguf-py)."""
    family = FAMILIES[name]
    writer = gguf.GGUFWriter(path, family.arch)
    config = model.config
    entries = {
        "vocab_size": VOCABULARY,
        "context_length": CONTEXT,
        "embedding_length": WIDTH,
        "block_count": BLOCKS,
        **family.keys(config),
        **(keys or {}),
    }
    for key, value in entries.items():
        full = f"{family.arch}.{key}"
        if isinstance(value, bool):
            writer.add_bool(full, value)
        elif isinstance(value, float):
            writer.add_float32(full, value)
        elif isinstance(value, list):
            writer.add_array(full, value)
        else:
            writer.add_uint32(full, value)
    writer.add_string("tokenizer.ggml.model", "no_vocab")
    weights = {path: value.detach().float().numpy().copy() for path, value in model.state_dict().items()}
    if config.tie_word_embeddings:
        weights.pop("lm_head.weight", None)
    tensors = list(family.weights(weights, config))
    for tensor, value in alter(tensors) if alter else tensors:
        data = np.ascontiguousarray(value, dtype=np.float32)
        if quantised is not None and data.ndim >= 2 and data.shape[-1] % 32 == 0 and "conv" not in tensor and "ssm" not in tensor:
            kind = gguf.GGMLQuantizationType[quantised]
            writer.add_tensor(tensor, gguf.quants.quantize(data, kind), raw_dtype=kind)
        else:
            writer.add_tensor(tensor, data)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
