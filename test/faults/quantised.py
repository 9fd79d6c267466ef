"""A program that multiplies as ggml does with quantised weights: both operands in blocks of 32, weights by gguf-py, activations by ggml's rule."""

import numpy as np
import torch
from gguf import GGMLQuantizationType
from gguf.quants import dequantize, quantize
from torch.nn import functional

# what ggml rounds activations to for weights of a type
_ACTIVATIONS = {"q8_0": "q8_0", "q4_0": "q8_0", "f16": "f16", "bf16": "bf16"}


def quantise(model: torch.nn.Module, kind: str) -> None:
    """Rounds the matrices that a GGUF file of the type quantises, and what they are multiplied with. The router stays F32, as in such files."""
    blocks = [module for layer in model.model.layers for module in (layer.self_attn, layer.mlp.experts)]
    for block in blocks:
        for module in block.modules():
            if isinstance(module, torch.nn.Linear):
                _round_weight(module.weight, kind)
                module.register_forward_pre_hook(lambda _module, args: (rounded(args[0], kind),))
    _round_weight(model.model.embed_tokens.weight, kind)
    if model.lm_head.weight is not model.model.embed_tokens.weight:
        _round_weight(model.lm_head.weight, kind)
    model.lm_head.register_forward_pre_hook(lambda _module, args: (rounded(args[0], kind),))
    for layer in model.model.layers:
        for weight in (layer.mlp.experts.gate_up_proj, layer.mlp.experts.down_proj):
            _round_weight(weight, kind)


def expert_linear(kind: str):
    """`functional.linear` for the experts, whose products are no modules: matrices sliced from a stack of three axes round their inputs."""
    kept = functional.linear

    def linear(x, weight, bias=None):
        is_expert = weight._base is not None and weight._base.ndim == 3
        return kept(rounded(x, kind) if is_expert else x, weight, bias)

    return linear


def rounded(x: torch.Tensor, kind: str) -> torch.Tensor:
    """Activations as ggml rounds them for weights of the type."""
    to = _ACTIVATIONS[kind]
    if to == "q8_0":
        return _q8_0(x)
    return x.to(torch.bfloat16 if to == "bf16" else torch.float16).float()


def _q8_0(x: torch.Tensor) -> torch.Tensor:
    """ggml's quantize_row_q8_0 and back: blocks of 32, steps of a 127th of the largest, scales in F16, halves to even."""
    blocks = x.numpy().astype(np.float32).reshape(-1, 32)
    largest = np.abs(blocks).max(axis=1, keepdims=True)
    scale = (largest / np.float32(127)).astype(np.float16).astype(np.float32)
    inverse = np.divide(np.float32(127), largest, out=np.zeros_like(largest), where=largest > 0)
    return torch.from_numpy(np.rint(blocks * inverse) * scale).reshape(x.shape)


def _round_weight(weight: torch.Tensor, kind: str) -> None:
    to = {"q8_0": GGMLQuantizationType.Q8_0, "q4_0": GGMLQuantizationType.Q4_0, "f16": GGMLQuantizationType.F16, "bf16": GGMLQuantizationType.BF16}[kind]
    values = weight.detach().numpy().astype(np.float32)
    with torch.no_grad():
        weight.copy_(torch.from_numpy(dequantize(quantize(values, to), to).reshape(values.shape).copy()))
