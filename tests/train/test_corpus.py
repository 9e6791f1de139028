from __future__ import annotations

import numpy as np
import pytest
import torch

from harness.api import Example, Loss, Message, Part, token_loss
from harness.data.chat import Rendered
from harness.errors import UserError
from harness.train.corpus import build

RESPONSE = token_loss(lambda batch: batch.is_part(Part.RESPONSE))
TEXTS = ("ttprr", "ttpppppprr", "trr", "tpr")
"""Parts by letter: template, prompt, response; ids are positions."""


def render(_name, example):
    parts = tuple(
        {"t": Part.TEMPLATE, "p": Part.PROMPT, "r": Part.RESPONSE}[letter] for letter in example.messages[0].content
    )
    return Rendered(tuple(range(len(parts))), parts, special_in_text=1)


def rows(*texts, name="data"):
    return [(name, Example(str(i), (Message("user", text),))) for i, text in enumerate(texts)]


def corpus(texts=TEXTS, loss=RESPONSE, max_length=100, reduction="token"):
    return build(rows(*texts), render, loss, max_length=max_length, reduction=reduction)


def test_examples_are_cut_on_the_right_and_unscored_ones_dropped():
    found = corpus(max_length=6)
    assert (len(found), found.truncated, found.dropped, found.special_in_text) == (3, 1, 1, 4)
    assert found.lengths.tolist() == [5, 3, 3]
    assert found.scored.tolist() == [2, 2, 1]
    assert found.weights.tolist() == [0, 0, 0, 1, 1, 0, 1, 1, 0, 0, 1]


def test_the_first_token_is_never_scored():
    found = corpus(("rrr",))
    assert found.weights.tolist() == [0, 1, 1]


def test_examples_weigh_the_same_under_the_example_mean():
    loss = token_loss(lambda batch: batch.is_part(Part.RESPONSE) + 0.5 * batch.is_part(Part.PROMPT))
    found = corpus(loss=loss, reduction="example")
    sums = np.add.reduceat(found.weights, found.offsets[:-1])
    np.testing.assert_allclose(sums, 1.0, atol=1e-6)
    np.testing.assert_allclose(found.weights[:5], [0, 0, 0.2, 0.4, 0.4], atol=1e-7)


def test_counts_are_by_dataset_and_by_what_training_sees():
    found = build(
        rows("tprr", "tr", name="a") + rows("tppr", name="b"), render, RESPONSE, max_length=9, reduction="token"
    )
    assert found.counts(np.array([0, 0, 2])) == {
        "a": {"examples": 2, "tokens": 8, "scored_tokens": 4},
        "b": {"examples": 1, "tokens": 4, "scored_tokens": 1},
    }


@pytest.mark.parametrize(
    ("weights", "said"),
    [
        (lambda batch: -batch.is_part(Part.RESPONSE), "negative"),
        (lambda batch: batch.is_part(Part.RESPONSE) / 0.0, "non-finite"),
        (lambda _: torch.ones(3), "shape"),
        (lambda batch: batch.is_part(Part.PAD), "none of the 4 examples"),
    ],
)
def test_weights_that_cannot_be_averaged_are_refused(weights, said):
    with pytest.raises(UserError, match=said):
        corpus(loss=Loss(weights=weights))


def test_an_empty_mixture_is_refused():
    with pytest.raises(UserError, match="no examples"):
        corpus(())
