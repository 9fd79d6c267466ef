"""Runs the calls of a batch under an observer and writes what each sequence's tokens made, padding left out."""

from collections.abc import Iterator

import torch
from transformers import DynamicCache, PreTrainedModel

from calls import Batch, Call, Rows
from dump_writer import DumpWriter
from families import FAMILIES
from observer import NotSeen, Observed, Observer
from taps import Behind, Tap


def forward(model: PreTrainedModel, batch: Batch, call: Call, cache: DynamicCache | None) -> torch.Tensor:
    """The logits [B, T, V] of one call of the unmodified model."""
    with torch.no_grad():
        return model(**batch.inputs(call), past_key_values=cache, use_cache=cache is not None).logits


class Dumper:
    """`groups` are the taps by block, those of no block under None. `edited` lists taps that the caller of their module changes at once."""

    def __init__(self, model: PreTrainedModel, batch: Batch, groups: dict[int | None, list[Tap]], writer: DumpWriter) -> None:
        self._model = model
        self._batch = batch
        self._groups = groups
        self._writer = writer
        self._missing: dict[str, str] = {}
        self.edited: list[str] = []

    def run(self) -> Iterator[tuple[Call, torch.Tensor]]:
        """Each call and its logits, after its values were written."""
        family = FAMILIES[self._model.config.model_type]
        seen = Observed()
        cache = DynamicCache(config=self._model.config) if self._batch.cached else None
        for call in self._batch.calls:
            seen.begin(len(self._batch.sequences), call.size, cache)
            rows = self._batch.rows(call)

            def on_block(index: int, rows: list[Rows] = rows) -> None:
                self._write(index, seen, rows)
                seen.forget(f"layers.{index}")

            with Observer(self._model, seen, on_block, family.locals, family.model_locals):
                logits = forward(self._model, self._batch, call, cache)
            self._write(None, seen, rows)
            yield call, logits

    def _write(self, block: int | None, seen: Observed, rows: list[Rows]) -> None:
        values: dict[str, torch.Tensor] = {}
        missing: dict[str, str] = {}
        for tap in self._groups[block]:
            try:
                values[tap.name] = tap.read(seen)
            except NotSeen as error:
                missing[tap.name] = str(error)
                continue
            if isinstance(tap.read, Behind) and tap.name not in self.edited and tap.read.is_edited(seen):
                self.edited.append(tap.name)
        for part in rows:
            cut = {tap.name: _cut(tap, values[tap.name], part) for tap in self._groups[block] if tap.name in values}
            self._writer.write(block, cut, part, missing)


def _cut(tap: Tap, value: torch.Tensor, rows: Rows) -> torch.Tensor:
    """A sequence's part of a batch's value: its selected rows, and of visible positions (the axis S) those that are no padding."""
    own = value[rows.sequence]
    if tap.scope == "step":
        return _visible(own, 0, rows) if tap.axes[0] == "S" else own
    own = own[rows.slots.start : rows.slots.stop]
    if tap.axes[-1] != "S":
        return own
    seen = _visible(own, own.ndim - 1, rows)
    # what a sliding window's cache has dropped is attended with weight 0
    dropped = rows.visible - rows.padding - seen.shape[-1]
    return torch.nn.functional.pad(seen, (dropped, 0)) if dropped > 0 else seen


def _visible(value: torch.Tensor, axis: int, rows: Rows) -> torch.Tensor:
    """Visible positions without padding; a sliding window's cache may have dropped the first slots already."""
    held = value.shape[axis]
    padding = max(0, rows.padding - (rows.visible - held))
    return value.narrow(axis, padding, held - padding)
