"""The families of models that dump.py knows: which class runs them, which variables are watched, and which values are taps."""

from collections.abc import Callable
from dataclasses import dataclass
from types import ModuleType

from transformers import Qwen3ForCausalLM, Qwen3MoeForCausalLM, ZayaForCausalLM

import block_taps
import observer
import qwen3_taps
import taps


@dataclass(frozen=True)
class Family:
    """`targets`: the model's tensors under the names of a checkpoint."""

    model: type
    sizes: type
    model_taps: Callable
    block_taps: Callable
    locals: dict[str, tuple[str, ...]]
    model_locals: tuple[str, ...]
    targets: Callable[[dict], dict]


def _qwen3(model: type) -> Family:
    own: ModuleType = qwen3_taps
    return Family(model, own.Sizes, own.model_taps, own.block_taps, own.LOCALS, own.MODEL_LOCALS, own.stored_targets)


# By `model_type`.
FAMILIES: dict[str, Family] = {
    "zaya": Family(
        ZayaForCausalLM, taps.Sizes, taps.model_taps, block_taps.block_taps, observer.LOCALS, observer.MODEL_LOCALS, dict
    ),
    "qwen3": _qwen3(Qwen3ForCausalLM),
    "qwen3_moe": _qwen3(Qwen3MoeForCausalLM),
}
