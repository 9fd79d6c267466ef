"""What a model is fed: sequences in one left-padded batch, in one forward call or cut into several with the model's own cache."""

from dataclasses import dataclass

import torch

from errors import DumpError
from tap_pattern import parse_positions


@dataclass(frozen=True)
class Rows:
    """The rows of one sequence that one call adds to a dump. `slots` counts from the call's first slot, padding included."""

    sequence: int
    step: int
    positions: range
    slots: range
    # slots of padding in front of the sequence, and slots that the call's tokens can see, padding included
    padding: int
    visible: int


@dataclass(frozen=True)
class Call:
    """One forward call: slots `past` to `past + size - 1` of every sequence."""

    step: int
    past: int
    size: int


class Batch:
    """Sequences padded on the left to one length, and the calls that feed them.

    `steps`: slots of each call, of the padded length in all; None: one call without a cache.
    """

    def __init__(self, sequences: list[list[int]], steps: list[int] | None, pad_token: int, positions: str) -> None:
        self.sequences = sequences
        self.cached = steps is not None
        self.width = max(map(len, sequences))
        self.padding = [self.width - len(tokens) for tokens in sequences]
        sizes = [self.width] if steps is None else steps
        self._check(sizes)
        self.calls = [Call(step, sum(sizes[:step]), size) for step, size in enumerate(sizes)]
        self._ids = torch.tensor([[pad_token] * pad + tokens for pad, tokens in zip(self.padding, sequences)])
        self._real = torch.tensor([[0] * pad + [1] * len(tokens) for pad, tokens in zip(self.padding, sequences)])
        self._positions = positions
        for tokens in sequences:
            parse_positions(positions, len(tokens))

    @property
    def padded(self) -> bool:
        return any(self.padding)

    def inputs(self, call: Call) -> dict[str, torch.Tensor]:
        """Arguments of `forward`: ids, and in a padded batch the attention mask and the positions as `generate` counts them."""
        end = call.past + call.size
        inputs = {"input_ids": self._ids[:, call.past : end]}
        if self.padded:
            positions = (self._real.cumsum(-1) - 1).clamp_min(0)
            inputs |= {"attention_mask": self._real[:, :end], "position_ids": positions[:, call.past : end]}
        return inputs

    def rows(self, call: Call) -> list[Rows]:
        """The rows to dump of a call, by sequence; a sequence without a selected position is left out."""
        found = []
        for sequence, tokens in enumerate(self.sequences):
            padding = self.padding[sequence]
            own = range(max(0, call.past - padding), call.past + call.size - padding)
            positions = self._selected(own, len(tokens))
            first = positions.start + padding - call.past
            slots = range(first, first + len(positions))
            if positions:
                found.append(Rows(sequence, call.step, positions, slots, padding, call.past + call.size))
        return found

    def _selected(self, own: range, length: int) -> range:
        """Positions of a call that are to be dumped; `last` is the last of each call."""
        if self._positions == "last":
            return own[-1:]
        wanted = parse_positions(self._positions, length)
        return range(max(own.start, wanted.start), min(own.stop, wanted.stop))

    def _check(self, sizes: list[int]) -> None:
        if any(size < 1 for size in sizes) or sum(sizes) != self.width:
            longest = "" if len(self.sequences) == 1 else " of the longest sequence"
            got = ",".join(map(str, sizes))
            raise DumpError(f"steps: expected sizes of calls that add up to the {self.width} tokens{longest}, got {got}")
        late = [sequence for sequence, padding in enumerate(self.padding) if padding >= sizes[0]]
        if late:
            raise DumpError(
                f"steps: expected a first call that reaches every sequence, got {sizes[0]} slots, "
                f"all of them padding in sequence {late[0]} ({len(self.sequences[late[0]])} of {self.width} tokens)"
            )
