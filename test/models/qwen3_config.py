"""What transformers makes of configs of Qwen3 and Qwen3-MoE: JSON list of configs in, JSON list of the fields that change results out."""

import json
import sys

from transformers import AutoConfig

COMMON = (
    "vocab_size hidden_size num_hidden_layers num_attention_heads num_key_value_heads head_dim hidden_act max_position_embeddings "
    "rms_norm_eps tie_word_embeddings attention_bias intermediate_size sliding_window"
).split()
MOE = "num_experts num_experts_per_tok moe_intermediate_size norm_topk_prob decoder_sparse_step mlp_only_layers".split()

read = []
for given in json.load(sys.stdin):
    config = AutoConfig.for_model(**given)
    is_moe = config.model_type == "qwen3_moe"
    fields = {key: getattr(config, key) for key in [*COMMON, *(MOE if is_moe else ())]}
    # a Qwen3-MoE has one mask for all blocks
    every = "full_attention" if config.sliding_window is None else "sliding_attention"
    fields["layer_types"] = [every] * config.num_hidden_layers if is_moe else config.layer_types
    fields["rope_parameters"] = {key: config.rope_parameters[key] for key in ("rope_type", "rope_theta")}
    read.append(fields)
print(json.dumps(read))
