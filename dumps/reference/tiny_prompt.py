"""Chooses the committed prompt: a held-out text on which routing is varied, skips some tokens, and has no near ties."""

from dataclasses import dataclass

import torch

from byte_tokenizer import encode_text
from corpus import corpus

PROMPT_TOKENS = 56
CANDIDATES = 3000
SKIP_RANGE = (0.02, 0.10)
# The promise is 1e-5; candidates must clear ten times that, so that another machine's rounding cannot break it.
MIN_MARGIN = 1e-5
CANDIDATE_MARGIN = 1e-4


@dataclass(frozen=True)
class Routing:
    """Routing of one prompt over all blocks: share of skipped (block, token) pairs, smallest margin, unused experts."""

    skip_share: float
    min_margin: float
    blocks_with_all_experts: int
    blocks: int

    @property
    def acceptable(self) -> bool:
        share_fits = SKIP_RANGE[0] <= self.skip_share <= SKIP_RANGE[1]
        return share_fits and self.min_margin > CANDIDATE_MARGIN and self.blocks_with_all_experts == self.blocks


def choose_prompt(model, seed: int) -> tuple[str, int]:
    """The first acceptable candidate of a seeded list of held-out texts, and how many were tried."""
    for tried, text in enumerate(_candidates(seed), start=1):
        if measure(model, text).acceptable:
            return text, tried
    raise SystemExit(f"make_tiny: expected one of {CANDIDATES} candidate prompts to be acceptable, none is")


def measure(model, text: str) -> Routing:
    """Routing of `text` under the model, from its own router logits and balancing biases."""
    with torch.no_grad():
        outputs = model(input_ids=torch.tensor([encode_text(text)]), use_cache=False, output_router_logits=True)
    gates = [block.mlp.gate for block in model.model.layers]
    biased = [logits.softmax(-1) + gate.balancing_biases for logits, gate in zip(outputs.router_logits, gates, strict=True)]
    return routing_of(torch.stack(biased))


def routing_of(biased: torch.Tensor) -> Routing:
    """Routing from biased probabilities [blocks, T, E+1]."""
    blocks, _, classes = biased.shape
    best = biased.topk(2, dim=-1).values
    chosen = biased.argmax(-1)
    complete = sum(len(set(row.tolist()) - {classes - 1}) == classes - 1 for row in chosen)
    skip_share = (chosen == classes - 1).float().mean().item()
    return Routing(skip_share, (best[..., 0] - best[..., 1]).min().item(), complete, blocks)


def _candidates(seed: int):
    """ASCII texts of exactly PROMPT_TOKENS tokens that begin a document and hold more than letters."""
    texts = (document[: PROMPT_TOKENS - 1] for document in corpus(seed, CANDIDATES * 600))
    full = (text for text in texts if len(encode_text(text)) == PROMPT_TOKENS)
    return [text for text in full if any(c.isdigit() for c in text) or "\n" in text][:CANDIDATES]
