"""Translation edit rate (TER), sample by sample (Snover et al., 2006; as sacrebleu computes it).

A corpus's rate is its edits over its references' words: the mean of the samples' rates, weighted by those words.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any


def edit_rate(references: str | Sequence[str], answer: str) -> float:
    """Edits per word that turn the answer into the nearest reference; above 1 for an answer that runs on.

    Raises ValueError for references without words: nothing can be divided by them.
    """
    score = _score(references, answer)
    if not score.ref_length:
        raise ValueError("the reference has no words, and so no edit rate")
    return float(score.num_edits / score.ref_length)


def words(references: str | Sequence[str]) -> float:
    """Words of the reference, or their mean over several."""
    return float(_score(references, "").ref_length)


def _score(references: str | Sequence[str], answer: str) -> Any:
    from sacrebleu import corpus_ter

    return corpus_ter([answer], [[text] for text in ([references] if isinstance(references, str) else references)])
