"""A model that is larger than the memory: a decoder block holds its weights only while it runs."""

from pathlib import Path

import torch
from safetensors import safe_open
from transformers import AutoConfig, PreTrainedModel

from checkpoint import IMPLEMENTATIONS, StoredTensor, check_names, copy_exactly, read_config
from families import FAMILIES, Family


def stream_model(model: Path, dtype: torch.dtype, tensors: dict[str, StoredTensor]) -> PreTrainedModel:
    """What `load_model` gives, with the weights of the decoder blocks left in the files.

    `forward` is unmodified, and so is each block: a hook reads the block's weights right before it runs, another drops them after.
    Embedding, final norm and head stay in memory. Every forward pass reads the files once.
    """
    family = FAMILIES[read_config(model)["model_type"]]
    with torch.device("meta"):
        net = family.model._from_config(AutoConfig.from_pretrained(model), dtype=dtype, **IMPLEMENTATIONS)
    net.eval()
    check_names(net, tensors, model)
    # computed from the config, not stored
    net.model.rotary_emb = type(net.model.rotary_emb)(config=net.config)
    # a tied head is in no file
    inside = "model.layers."
    outside = {name: value for name, value in net.state_dict().items() if name in tensors and not name.startswith(inside)}
    net.load_state_dict(_stored(outside, tensors, family), strict=False, assign=True)
    net.tie_weights()
    for index, block in enumerate(net.model.layers):
        _stream_block(block, f"{inside}{index}.", tensors, family)
    return net


def _stream_block(block: torch.nn.Module, prefix: str, tensors: dict[str, StoredTensor], family: Family) -> None:
    empty = block.state_dict()

    def fill(*_) -> None:
        values = _stored({prefix + name: value for name, value in empty.items()}, tensors, family)
        block.load_state_dict({name.removeprefix(prefix): value for name, value in values.items()}, assign=True)

    def drop(*_) -> None:
        block.load_state_dict(empty, assign=True)

    block.register_forward_pre_hook(fill)
    block.register_forward_hook(drop)


def _stored(wanted: dict[str, torch.Tensor], tensors: dict[str, StoredTensor], family: Family) -> dict[str, torch.Tensor]:
    """The tensors of `wanted` from their files, in the shapes and dtypes that `wanted` has on the meta device."""
    values = {name: torch.empty_like(like, device="cpu") for name, like in wanted.items()}
    # parts of a value that files hold apart, such as experts, are written in place
    targets = family.targets(values)
    for path in sorted({tensors[name].file for name in targets}):
        # opened anew for each block: a mapped file counts as resident memory for as long as it is open
        with safe_open(path, framework="pt") as file, torch.no_grad():
            for name in (name for name in targets if tensors[name].file == path):
                copy_exactly(name, targets[name], file.get_tensor(name))
    return values
