"""Modules that know nothing of transformers, for the tests."""

import dataclasses

import torch
from torch import nn


class Cnn(nn.Module):
    """Images in, classes out; no tokens anywhere."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(inplace=True), nn.MaxPool2d(2))
        self.output = nn.Linear(4 * 3 * 3, 5)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        x = self.features(image)
        return self.output(x.flatten(1))


class EncoderDecoder(nn.Module):
    """Two stacks called layers, attention by torch, one embedding used twice, a tuple returned."""

    def __init__(self, hidden: int = 12) -> None:
        super().__init__()
        self.embed = nn.Embedding(40, hidden)
        self.encoder = nn.TransformerEncoder(nn.TransformerEncoderLayer(hidden, 2, 20, batch_first=True), 2)
        self.decoder = nn.TransformerDecoder(nn.TransformerDecoderLayer(hidden, 2, 20, batch_first=True), 2)
        self.head = nn.Linear(hidden, 40)

    def forward(self, source: torch.Tensor, target: torch.Tensor) -> tuple[torch.Tensor, dict]:
        memory = self.encoder(self.embed(source))
        decoded = self.decoder(self.embed(target), memory)
        return self.head(decoded), {"memory": memory, "length": source.shape[1]}


@dataclasses.dataclass
class Result:
    """What `Kinds` returns."""

    wide: torch.Tensor
    whole: torch.Tensor
    flags: torch.Tensor
    parts: list
    nothing: None = None


class Kinds(nn.Module):
    """Values of every dtype, nested, with one that is written to afterwards."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Linear(4, 4)
        self.never = nn.Linear(2, 2)

    def forward(self, x: torch.Tensor) -> Result:
        y = self.scale(x)
        y.mul_(3)
        big = torch.tensor([2**60 + 1, -(2**60) - 3])
        parts = [y.to(torch.bfloat16), (y.to(torch.float16), torch.arange(3, dtype=torch.int16)), torch.tensor([-5], dtype=torch.int8)]
        parts += [torch.tensor([200], dtype=torch.uint8), torch.tensor(7, dtype=torch.int32), torch.complex(y[0, 0], y[0, 1])]
        parts += [torch.zeros(0, 3), torch.sparse_coo_tensor(torch.zeros(1, 1, dtype=torch.int64), [1.0], (2,))]
        return Result(y.double() / 3, big, y > 0, parts)


class Recurrent(nn.Module):
    """A language model with a state of its own, given ids of any number."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(20, 6)
        self.blocks = nn.ModuleList([nn.Linear(6, 6) for _ in range(3)])
        self.tied = self.blocks[1]
        self.state: torch.Tensor | None = None

    def forward(self, ids: torch.Tensor, stop: int | None = None) -> torch.Tensor:
        x = self.embed(ids)
        total = x.sum(1) if self.state is None else self.state + x.sum(1)
        self.state = total
        for number, block in enumerate((*self.blocks, self.tied)):
            if stop == number:
                raise RuntimeError(f"stopped before block {number}")
            x = x + torch.tanh(block(x))
        return x
