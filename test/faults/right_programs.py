"""Right programs that are not bit-equal to transformers: they sum in another order, or round in other places. None of them is to be accused."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

import torch
from torch.nn import functional
from transformers.models.zaya import modeling_zaya as zaya

from alteration import Alteration, change, edit, output_of

CCA = zaya.ZayaCCAProjection.forward
EAGER = zaya.eager_attention_forward
EXPERTS = zaya.ZayaExperts.forward
NORM = zaya.ZayaRMSNorm.forward
QK_NORM = zaya.ZayaQKNorm.forward
ROTATION = """    q_embed = (q_rot * cos) + (rotate_half(q_rot) * sin)
    k_embed = (k_rot * cos) + (rotate_half(k_rot) * sin)
"""
ROTATION_IN_SINGLE = """    q_embed, k_embed = (
        (x.float() * cos.float() + rotate_half(x.float()) * sin.float()).to(x.dtype) for x in (q_rot, k_rot)
    )
"""
ROTATION_IN_DOUBLE = ROTATION_IN_SINGLE.replace("float()", "double()")
SCORES = "torch.matmul(query, key_states.transpose(2, 3)) * scaling"
SOFTMAX = "nn.functional.softmax(attn_weights, dim=-1, dtype=torch.float32)"
RSQRT = "hidden_states * torch.rsqrt(variance + self.variance_epsilon)"
NORMALISED = "return self.weight * hidden_states.to(input_dtype)"
BRANCH = "(hidden_states + self.hidden_states_bias) * self.hidden_states_scale"
QUERY_LENGTH = "query_states.norm(p=2, dim=-1, keepdim=True).clamp_min(norm_eps)"
KEY_LENGTH = QUERY_LENGTH.replace("query", "key")


@dataclass(frozen=True)
class Program:
    """One right program. `dtype`: of its weights and values, float32 or half (bfloat16 and float16)."""

    name: str
    says: str
    dtype: str
    alter: Alteration


def linear(product: Callable) -> Alteration:
    """Every linear layer, experts too, computed by `product(x, weight)`."""

    def replaced(x, weight, bias=None):
        y = product(x, weight)
        return y if bias is None else y + bias

    return _instead_of_linear(replaced)


def _instead_of_linear(replaced: Callable) -> Alteration:
    @contextmanager
    def altered(_model) -> Iterator[None]:
        kept = functional.linear
        functional.linear = replaced
        try:
            yield
        finally:
            functional.linear = kept

    return altered


def sums(dtype: torch.dtype, product: Callable) -> Alteration:
    """As `linear`, with product and bias in `dtype` and one rounding, as torch has it."""

    def replaced(x, weight, bias=None):
        y = product(x.to(dtype), weight.to(dtype))
        return (y if bias is None else y + bias.to(dtype)).to(x.dtype)

    return _instead_of_linear(replaced)


def all_of(*alterations: Alteration) -> Alteration:
    @contextmanager
    def altered(model) -> Iterator[None]:
        with ExitStack() as stack:
            for alteration in alterations:
                stack.enter_context(alteration(model))
            yield

    return altered


def _reordered(x: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    order = torch.randperm(weight.shape[-1], generator=torch.Generator().manual_seed(weight.shape[-1]))
    return x[..., order].contiguous() @ weight[..., order].contiguous().t()


def _halves(x: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    half = weight.shape[-1] // 2
    return x[..., :half] @ weight[:, :half].t() + x[..., half:] @ weight[:, half:].t()


def _row_by_row(x: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    rows = x.reshape(-1, x.shape[-1])
    return torch.stack([weight @ row for row in rows]).reshape(*x.shape[:-1], -1) if len(rows) > 0 else x @ weight.t()


def _in_double(x: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    return (x.double() @ weight.double().t()).to(x.dtype)


def _in_single(x: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    return (x.float() @ weight.float().t()).to(x.dtype)


def _in_eights(x: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    return sum(x[..., k : k + 8] @ weight[:, k : k + 8].t() for k in range(0, x.shape[-1], 8))


def _in_tf32(x: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    """Operands with 10 bits of mantissa, as tensor cores take them."""
    return _ten_bits(x) @ _ten_bits(weight).t()


def _ten_bits(x: torch.Tensor) -> torch.Tensor:
    bits = x.contiguous().view(torch.int32)
    return ((bits + 0x0FFF + ((bits >> 13) & 1)) & ~0x1FFF).view(torch.float32)


def _double_attention() -> Alteration:
    return edit(EAGER, SCORES, "(torch.matmul(query.double(), key_states.double().transpose(2, 3)) * scaling).to(query.dtype)")


def _rounded_linears(model) -> None:
    for module in model.modules():
        if isinstance(module, torch.nn.Linear):
            output_of(module, lambda y: y.bfloat16().float())


def _wide_activations(model) -> None:
    """Weights in BF16, all else in F32."""
    for parameter in model.parameters():
        parameter.copy_(parameter.bfloat16().float())


class _DoubleGelu(torch.nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return functional.gelu(x.double()).to(x.dtype)


FUSED_NORM = edit(NORM, NORMALISED, "return (self.weight.float() * hidden_states).to(input_dtype)")
FUSED_BRANCH = edit(
    zaya.ZayaResidualScaling.forward,
    BRANCH,
    "(hidden_states.float() + self.hidden_states_bias.float()) * self.hidden_states_scale.float()",
)
FUSED_ACTIVATION = edit(EXPERTS, "self.act_fn(gate) * up", "(self.act_fn(gate.float()) * up.float()).to(up.dtype)")
FUSED_ROTATION = edit(zaya.apply_rotary_pos_emb, ROTATION, ROTATION_IN_SINGLE)
FUSED_SCORES = edit(EAGER, SCORES, "torch.matmul(query.float(), key_states.float().transpose(2, 3)) * scaling")
FUSED_OUTPUT = edit(EAGER, "torch.matmul(attn_weights, value_states)", "torch.matmul(attn_weights.float(), value_states.float()).to(query.dtype)")
FUSED_MEAN = edit(
    CCA, "(query_residual + key_residual) * 0.5", "((query_residual.float() + key_residual.float()) * 0.5).to(query_residual.dtype)"
)
ROUTER_IN_SINGLE = edit(
    zaya.ZayaRouter.forward, "torch.softmax(router_logits, dim=-1)", "torch.softmax(router_logits.float(), dim=-1)"
)

RIGHT_PROGRAMS = [
    Program("linear-reordered", "Products sum their inner axis in another order.", "float32", linear(_reordered)),
    Program("linear-in-halves", "Products are the sum of two halves.", "float32", linear(_halves)),
    Program("linear-row-by-row", "Products run token by token.", "float32", linear(_row_by_row)),
    Program("linear-in-double", "Products sum in F64.", "float32", linear(_in_double)),
    Program("linear-in-tf32", "Products round their operands to 10 bits.", "float32", linear(_in_tf32)),
    Program("scores-in-double", "Attention's scores sum in F64.", "float32", _double_attention()),
    Program("query-scaled-first", "Queries are scaled before the product with keys.", "float32", edit(EAGER, SCORES, "torch.matmul(query * scaling, key_states.transpose(2, 3))")),
    Program("softmax-in-double", "Attention's soft-max runs in F64.", "float32", edit(EAGER, "dim=-1, dtype=torch.float32", "dim=-1, dtype=torch.float64")),
    Program("softmax-by-logsumexp", "Attention's soft-max is exp(x - logsumexp).", "float32", edit(EAGER, SOFTMAX, "torch.exp(attn_weights - torch.logsumexp(attn_weights, -1, keepdim=True))")),
    Program("norm-in-double", "Norms run in F64.", "float32", edit(NORM, "hidden_states.to(torch.float32)", "hidden_states.to(torch.float64)")),
    Program("norm-by-division", "Norms divide by the root.", "float32", edit(NORM, RSQRT, "hidden_states / torch.sqrt(variance + self.variance_epsilon)")),
    Program("norm-summed", "Norms divide a sum of squares.", "float32", edit(NORM, ".mean(-1, keepdim=True)", ".flip(-1).sum(-1, keepdim=True) / hidden_states.shape[-1]")),
    Program("norm-weight-first", "Norms multiply by their weight first.", "float32", edit(NORM, f"hidden_states = {RSQRT}\n    {NORMALISED}", "return self.weight * hidden_states * torch.rsqrt(variance + self.variance_epsilon)")),
    Program("rope-in-double", "RoPE turns in F64.", "float32", edit(zaya.apply_rotary_pos_emb, ROTATION, ROTATION_IN_DOUBLE)),
    Program("gelu-in-double", "The router's GELU runs in F64.", "float32", change(lambda model: [setattr(b.mlp.gate.router_mlp, "act_fn", _DoubleGelu()) for b in model.model.layers])),
    Program("silu-by-exponential", "SiLU is x / (1 + exp(-x)).", "float32", edit(EXPERTS, "self.act_fn(gate)", "gate / (1 + torch.exp(-gate))")),
    Program("output-in-double", "Attention's output sums in F64.", "float32", edit(EAGER, "torch.matmul(attn_weights, value_states)", "torch.matmul(attn_weights.double(), value_states.double()).to(query.dtype)")),
    Program("key-length-in-double", "The length of a key is summed in F64.", "float32", edit(QK_NORM, KEY_LENGTH, "key_states.double().norm(p=2, dim=-1, keepdim=True).float()")),
    Program("residual-in-double", "The residual's affine runs in F64.", "float32", edit(zaya.ZayaResidualScaling.forward, "(residual + self.residual_bias) * self.residual_scale", "((residual.double() + self.residual_bias) * self.residual_scale).float()")),
    Program("linears-round", "Every product is rounded to BF16, all else is F32.", "float32", change(_rounded_linears)),
    Program("weights-in-bf16", "Weights are BF16, activations F32.", "float32", change(_wide_activations)),
    Program("half-linear-reordered", "Products sum their inner axis in another order.", "half", linear(_reordered)),
    Program("half-linear-in-single", "Products multiply in F32 and round once.", "half", linear(_in_single)),
    Program("half-sums-backwards", "Products sum their inner axis backwards in F32 and round once, after their bias.", "half", sums(torch.float32, lambda x, w: x.flip(-1) @ w.flip(-1).t())),
    Program("half-sums-in-eights", "Products sum in F32 over runs of 8 and round once, after their bias.", "half", sums(torch.float32, _in_eights)),
    Program("half-sums-in-double", "Products sum in F64 and round once, after their bias.", "half", sums(torch.float64, lambda x, w: x @ w.t())),
    Program("half-norm-fused", "Norms round once, after their weight.", "half", FUSED_NORM),
    Program("half-branch-fused", "The branch's affine does not round.", "half", FUSED_BRANCH),
    Program("half-activation-fused", "SiLU and product round once.", "half", FUSED_ACTIVATION),
    Program("half-rope-fused", "RoPE rounds once.", "half", FUSED_ROTATION),
    Program("half-scores-fused", "Attention's scores are F32.", "half", FUSED_SCORES),
    Program("half-output-fused", "Attention's output rounds once.", "half", FUSED_OUTPUT),
    Program("half-mean-fused", "The mean of query and key rounds once.", "half", FUSED_MEAN),
    Program("half-router-in-single", "The router's probabilities are F32.", "half", ROUTER_IN_SINGLE),
    Program("half-all-fused", "Norms, affines, activations, RoPE, attention and means round once each.", "half", all_of(FUSED_NORM, FUSED_BRANCH, FUSED_ACTIVATION, FUSED_ROTATION, FUSED_SCORES, FUSED_OUTPUT, FUSED_MEAN)),
]  # fmt: skip

