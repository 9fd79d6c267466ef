"""The taps of ZAYA: names, axes, dtypes, and where each value stands in the unmodified transformers model.

A tap reads either a module's output or a local variable of a module's `forward`. A variable that is assigned several times is
named with which of its values is meant and how many there must be in all: if the model's source changes, the dump fails instead
of recording another value. An argument of `forward` counts as the first value of its name.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch

from observer import Observed

Reader = Callable[[Observed], torch.Tensor]
Layout = Callable[[torch.Tensor], torch.Tensor]

# Dtype classes: the model's dtype, or a fixed one (the residual stream and the biased router probabilities stay F32).
MODEL = "model"
F32 = "F32"
I32 = "I32"


@dataclass(frozen=True)
class Tap:
    """One named value. `shape` is per token row (or per step); None where a size varies with the step."""

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
class Sizes:
    """The sizes that taps are made of, by the letters of the architecture notes."""

    H: int
    nq: int
    nk: int
    d: int
    R: int
    E: int
    F: int
    V: int
    conv_leads: int

    @classmethod
    def of(cls, config) -> "Sizes":
        return cls(
            H=config.hidden_size,
            nq=config.num_attention_heads,
            nk=config.num_key_value_heads,
            d=config.head_dim,
            R=config.router_hidden_size,
            E=config.num_experts,
            F=config.moe_intermediate_size,
            V=config.vocab_size,
            # rows that the depthwise convolution makes before the first token, for the grouped one to reach back to
            conv_leads=config.cca_time1 - 1,
        )

    def axis(self, name: str) -> int | None:
        """Size of an axis such as `nq*d` or `E+1`; None for S, which depends on the step."""
        derived = {
            "S": None,
            "nq*d": self.nq * self.d,
            "nk*d": self.nk * self.d,
            "nk*d/2": self.nk * self.d // 2,
            "C": (self.nq + self.nk) * self.d,
            "E+1": self.E + 1,
            "2F": 2 * self.F,
            "leads": self.conv_leads,
        }
        return derived[name] if name in derived else getattr(self, name)


# --- layouts: from the tensor's axes in the model to token rows ---


def sequence(x: torch.Tensor) -> torch.Tensor:
    """[1, T, ...] to [T, ...]."""
    return x[0]


def heads_first(x: torch.Tensor) -> torch.Tensor:
    """[1, n, T, m] to [T, n, m]."""
    return x[0].transpose(0, 1)


def channels_first(x: torch.Tensor) -> torch.Tensor:
    """[1, C, T] to [T, C]."""
    return x[0].transpose(0, 1)


def flat(x: torch.Tensor) -> torch.Tensor:
    """[T, ...] as it is."""
    return x


def per_token(x: torch.Tensor) -> torch.Tensor:
    """[1, T, 1] or [T, 1] to [T]."""
    return x.reshape(-1)


# --- readers ---


def output(module: str, layout: Layout = sequence, call: int = 0, item: int | None = None) -> Reader:
    """The output of a module's `call`-th call; `item` picks from a tuple."""

    def read(seen: Observed) -> torch.Tensor:
        value = seen.outputs(module)[call]
        return layout(value if item is None else value[item])

    return read


def local(module: str, name: str, nth: int = 1, of: int | None = 1, layout: Layout = sequence) -> Reader:
    """The `nth` of `of` values (1-based; None: any number) of a variable in a module's `forward`; nth -1 is the last."""

    def read(seen: Observed) -> torch.Tensor:
        return layout(seen.value(module, name, nth, of))

    return read


def model_taps(size: Sizes) -> tuple[list[Tap], list[Tap]]:
    """The taps of no block: those before and those after the decoder blocks."""
    before = [
        make_tap(size, "embed_tokens", None, "T,H", output("embed_tokens")),
        # value 1 is the embedding, value 2 the scaled one, then one per block and the final norm's
        make_tap(size, "input_affine", None, "T,H", local("", "hidden_states", 2, None), F32),
    ]
    after = [
        make_tap(size, "norm", None, "T,H", output("norm")),
        make_tap(size, "lm_head", None, "T,V", output("lm_head")),
    ]
    return before, after


def make_tap(
    size: Sizes, name: str, block: int | None, axes: str, read: Reader, dtype: str = MODEL, scope: str = "token"
) -> Tap:
    """A tap whose shape follows from its axes, given as a comma list; for scope `token` the first is the token axis."""
    names = tuple(axes.split(","))
    inner = names[1:] if scope == "token" else names
    return Tap(name, block, names, tuple(size.axis(axis) for axis in inner), dtype, read, scope)
