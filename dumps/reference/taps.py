"""The taps of ZAYA: where each value stands in the unmodified transformers model.

A tap reads either a module's output or a local variable of a module's `forward`. A variable that is assigned several times is
named with which of its values is meant and how many there must be in all: if the model's source changes, the tap is reported as not
seen instead of recording another value. An argument of `forward` counts as the first value of its name. A module's output is read
where the model goes on with it (`Behind`), so that what is done to it right behind the module is not charged to the next op.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import torch

from observer import WITH_HEAD, NotSeen, Observed

Reader = Callable[[Observed], torch.Tensor]
Layout = Callable[[torch.Tensor, Observed], torch.Tensor]

# Dtype classes: the model's dtype, or a fixed one (the residual stream and the biased router probabilities stay F32).
MODEL = "model"
F32 = "F32"

# Names, axes, scopes and integer dtypes by family, as the model files have them: `npm run taps` writes the file, a test compares.
DECLARED = json.loads((Path(__file__).parent / "taps.json").read_text())


@dataclass(frozen=True)
class Tap:
    """One named value. `shape` is per token row (or per step); None where a size varies with the step.

    `read` gives the values of a whole batch: [B, T, ...] of tokens, padding included, or [B, ...] of a step. It raises `NotSeen` where
    the value's module did not run or its source is another one.
    """

    name: str
    block: int | None
    axes: tuple[str, ...]
    shape: tuple[int | None, ...]
    dtype: str
    read: Reader
    scope: str = "token"

    @property
    def file(self) -> str:
        return "model.arrow" if self.block is None else f"layers.{self.block}.arrow"


@dataclass(frozen=True)
class DecoderSizes:
    """The sizes that every family's taps are made of, by the letters of the architecture notes."""

    family: ClassVar[str]

    H: int
    nq: int
    nk: int
    d: int
    V: int
    blocks: int

    @staticmethod
    def fields_of(config) -> dict[str, int]:
        return {
            "H": config.hidden_size,
            "nq": config.num_attention_heads,
            "nk": config.num_key_value_heads,
            "d": getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads,
            "V": config.vocab_size,
            "blocks": config.num_hidden_layers,
        }

    def derived(self) -> dict[str, int | None]:
        """Sizes of the axes that are no field."""
        return {"S": None, "nq*d": self.nq * self.d, "nk*d": self.nk * self.d}

    def axis(self, name: str) -> int | None:
        """Size of an axis such as `nq*d` or `E+1`; None for S, which depends on the step."""
        derived = self.derived()
        return derived[name] if name in derived else getattr(self, name)


@dataclass(frozen=True)
class Sizes(DecoderSizes):
    """Those of ZAYA."""

    family = "zaya"

    R: int
    E: int
    F: int
    conv_leads: int
    conv_state: int

    @classmethod
    def of(cls, config) -> "Sizes":
        return cls(
            **cls.fields_of(config),
            R=config.router_hidden_size,
            E=config.num_experts,
            F=config.moe_intermediate_size,
            # rows that the depthwise convolution makes before the first token, for the grouped one to reach back to
            conv_leads=config.cca_time1 - 1,
            # rows that both convolutions reach back, kept between calls
            conv_state=config.cca_time0 + config.cca_time1 - 2,
        )

    def derived(self) -> dict[str, int | None]:
        return super().derived() | {
            "nk*d/2": self.nk * self.d // 2,
            "C": (self.nq + self.nk) * self.d,
            "E+1": self.E + 1,
            "2F": 2 * self.F,
            "leads": self.conv_leads,
            "L": self.conv_state,
        }


# --- layouts: from the tensor's axes in the model to [B, T, ...] ---


def sequence(x: torch.Tensor, _seen: Observed) -> torch.Tensor:
    """[B, T, ...] as it is."""
    return x


def heads_first(x: torch.Tensor, _seen: Observed) -> torch.Tensor:
    """[B, n, T, m] to [B, T, n, m]."""
    return x.transpose(1, 2)


def channels_first(x: torch.Tensor, _seen: Observed) -> torch.Tensor:
    """[B, C, T] to [B, T, C]."""
    return x.transpose(1, 2)


def flat(x: torch.Tensor, seen: Observed) -> torch.Tensor:
    """[B·T, ...] to [B, T, ...]."""
    return x.reshape(seen.batch, seen.tokens, *x.shape[1:])


def per_token(x: torch.Tensor, seen: Observed) -> torch.Tensor:
    """[B, T, 1] or [B·T, 1] to [B, T]."""
    return x.reshape(seen.batch, seen.tokens)


# --- readers ---


def output(module: str, layout: Layout = sequence, call: int = 0, item: int | None = None) -> Reader:
    """The output of a module's `call`-th call; `item` picks from a tuple."""

    def read(seen: Observed) -> torch.Tensor:
        value = seen.outputs(module)[call]
        return layout(value if item is None else value[item], seen)

    return read


def taken(module: str, layout: Layout = sequence, call: int = 0, of: int = 1) -> Reader:
    """What a module takes (its first argument, or `hidden_states`) in the `call`-th of `of` calls."""

    def read(seen: Observed) -> torch.Tensor:
        values = seen.inputs(module)
        if len(values) != of or values[call] is None:
            raise NotSeen(f"observe: expected {of} calls of module {module} on a value, got {len(values)}")
        return layout(values[call], seen)

    return read


def local(
    module: str, name: str, nth: int = 1, of: int | None = 1, layout: Layout = sequence, cached: int | None = None
) -> Reader:
    """The `nth` of `of` values (1-based; None: any number) of a variable in a module's `forward`; nth -1 is the last.

    `cached`: how many there are in a call with a cache, where that is another number.
    """

    def read(seen: Observed) -> torch.Tensor:
        count = cached if cached is not None and seen.cached else of
        return layout(seen.value(module, name, nth, count), seen)

    return read


def either(first: Reader, second: Reader) -> Reader:
    """What `first` reads, or `second` where that is not seen."""

    def read(seen: Observed) -> torch.Tensor:
        try:
            return first(seen)
        except NotSeen:
            return second(seen)

    return read


@dataclass(frozen=True)
class Behind:
    """A module's output as the model goes on with it: what the next module takes, or what stands in the caller's variable after the call.

    `next`: the input of the only module that reads the value, if there is one. Where it has another shape, and the caller's variables are
    not those that the table was written for, the module's output itself.
    """

    caller: Reader
    module: Reader
    next: Reader | None = None

    def __call__(self, seen: Observed) -> torch.Tensor:
        readers = [self.caller, self.module] if self.next is None else [self.next, self.caller, self.module]
        for reader in readers[:-1]:
            try:
                value = reader(seen)
                if reader is self.caller or value.shape == self.module(seen).shape:
                    return value
            except NotSeen:
                continue
        return self.module(seen)

    def is_edited(self, seen: Observed) -> bool:
        """True where the value is not the module's output, bit for bit."""
        try:
            mine, theirs = self(seen), self.module(seen)
        except NotSeen:
            return False
        return not same_bits(mine, theirs)


def same_bits(a: torch.Tensor, b: torch.Tensor) -> bool:
    """True for tensors of one dtype and shape with the same bits; NaN equals itself."""
    if a.dtype != b.dtype or a.shape != b.shape:
        return False
    if a.data_ptr() == b.data_ptr() and a.stride() == b.stride():
        return True
    return torch.equal(a.contiguous().view(torch.uint8), b.contiguous().view(torch.uint8))


def model_taps(size: Sizes) -> tuple[list[Tap], list[Tap]]:
    """The taps of no block: those before and those after the decoder blocks."""
    # the model's hidden_states: 1 the embedding, 2 scaled and shifted, then one value a block, and the final norm's
    values = size.blocks + 3
    before = [
        make_tap(size, "embed_tokens", None, Behind(local("", "inputs_embeds"), output("embed_tokens"))),
        make_tap(size, "input_affine", None, local("", "hidden_states", 2, values), F32),
    ]
    after = [
        make_tap(size, "norm", None, Behind(local("", "hidden_states", values, values), output("norm"), taken("lm_head"))),
        # an edit of the logits after the head counts as the head's
        make_tap(size, "lm_head", None, Behind(local(WITH_HEAD, "logits", -1, None), output("lm_head"))),
    ]
    return before, after


def make_tap(size: DecoderSizes, key: str, block: int | None, read: Reader, dtype: str = MODEL) -> Tap:
    """The tap `key`: its name, or in a block what follows the block's. Axes, scope and an integer dtype are those of the model file."""
    declared = DECLARED[size.family]["model" if block is None else "block"][key]
    axes = tuple(declared["axes"].split(","))
    scope = declared.get("scope", "token")
    inner = axes[1:] if scope == "token" else axes
    shape = tuple(size.axis(axis) for axis in inner)
    name = key if block is None else f"layers.{block}{key}"
    return Tap(name, block, axes, shape, declared.get("dtype", dtype), read, scope)
