"""Translation edit rate (TER), sample by sample (Snover et al., 2006; as sacrebleu computes it).

A corpus's rate is its edits over its references' words: the mean of the samples' rates, weighted by those words.
"""

from __future__ import annotations

from collections.abc import Sequence


def edits(references: str | Sequence[str], answer: str) -> tuple[int, float]:
    """How many edits turn the answer into the nearest reference, and how many words references have in the mean."""
    from sacrebleu import corpus_ter

    score = corpus_ter([answer], [[text] for text in ([references] if isinstance(references, str) else references)])
    return score.num_edits, score.ref_length


def words(references: str | Sequence[str]) -> float:
    """How many words references have in the mean, as sacrebleu counts them."""
    return edits(references, "")[1]
