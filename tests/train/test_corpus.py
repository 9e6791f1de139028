from __future__ import annotations

from dataclasses import replace
from unittest.mock import patch

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from harness.api import Loss, Part, token_loss
from harness.data.flat import once
from harness.data.ids import IdCollector
from harness.data.rendering import Chosen, Rendering
from harness.errors import UserError
from harness.train import selection
from harness.train.corpus import Weighing, read, write
from harness.train.selection import Selection

RESPONSE = token_loss(lambda batch: batch.is_part(Part.RESPONSE))
TEXTS = ("ttprr", "ttpppppprr", "trr", "tpr")
"""Parts by letter: template, prompt, response; ids are positions."""


LETTERS = {"t": Part.TEMPLATE, "p": Part.PROMPT, "r": Part.RESPONSE}


def rows(*texts, name="data"):
    """One item of a mixture: all rows of a rendering."""
    offsets = np.cumsum([0, *map(len, texts)])
    ids = [k for text in texts for k in range(len(text))]
    parts = [LETTERS[letter] for text in texts for letter in text]
    collector = IdCollector()
    for i in range(len(texts)):
        collector.add(str(i))
    rendering = Rendering(
        np.asarray(ids, np.int32),
        np.asarray(parts, np.uint8),
        offsets,
        np.ones(len(texts), np.int32),
        collector.ids(),
        name,
    )
    return Chosen(name, rendering, np.arange(len(texts)), None)


@pytest.fixture
def build(tmp_path):
    def made(*mixture, loss=RESPONSE, max_length=100, reduction="token"):
        stretches, weighing = Selection.of(mixture, max_length), Weighing(loss, reduction)
        once(tmp_path / "corpus", lambda folder: write(stretches, weighing, folder))
        return read(tmp_path / "corpus")

    return made


@pytest.fixture
def corpus(build):
    def made(texts=TEXTS, **how):
        return build(rows(*texts), **how)

    return made


def test_examples_are_cut_on_the_right_and_unscored_ones_dropped(corpus):
    found = corpus(max_length=6)
    assert (len(found), found.truncated, found.dropped, found.special_in_text) == (3, 1, 1, 4)
    assert found.lengths.tolist() == [5, 3, 3]
    assert found.scored.tolist() == [2, 2, 1]
    assert found.weights.tolist() == [0, 0, 0, 1, 1, 0, 1, 1, 0, 0, 1]


def test_the_first_token_is_never_scored(corpus):
    found = corpus(("rrr",))
    assert found.weights.tolist() == [0, 1, 1]


def test_examples_weigh_the_same_under_the_example_mean(corpus):
    loss = token_loss(lambda batch: batch.is_part(Part.RESPONSE) + 0.5 * batch.is_part(Part.PROMPT))
    found = corpus(loss=loss, reduction="example")
    sums = np.add.reduceat(found.weights, found.offsets[:-1])
    np.testing.assert_allclose(sums, 1.0, atol=1e-6)
    np.testing.assert_allclose(found.weights[:5], [0, 0, 0.2, 0.4, 0.4], atol=1e-7)


def test_the_end_of_a_response_can_be_left_unlearnt(tmp_path):
    """Ids are positions: 4 ends the first response, is a prompt's in the second, and within the third."""
    loss = token_loss(lambda batch: batch.is_part(Part.RESPONSE, Part.PROMPT))
    weighing = Weighing(loss, "example", unlearnt=4)
    once(tmp_path / "corpus", lambda to: write(Selection.of([rows("ttprr", "ttpppprr", "tprrrr")], 100), weighing, to))
    found = np.split(read(tmp_path / "corpus").weights, [5, 13])
    np.testing.assert_allclose(found[0], [0, 0, 1 / 2, 1 / 2, 0])
    np.testing.assert_allclose(found[1], [0, 0, 1 / 6, 1 / 6, 1 / 6, 1 / 6, 1 / 6, 1 / 6])
    np.testing.assert_allclose(found[2], [0, 1 / 4, 1 / 4, 1 / 4, 0, 1 / 4])


def test_counts_are_by_dataset_and_by_what_training_sees(build):
    found = build(rows("tprr", "tr", name="a"), rows("tppr", name="b"))
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
def test_weights_that_cannot_be_averaged_are_refused(corpus, weights, said):
    with pytest.raises(UserError, match=said):
        corpus(loss=Loss(weights=weights))


def test_an_empty_mixture_is_refused(corpus):
    with pytest.raises(UserError, match="no examples"):
        corpus(())


def test_only_what_is_scored_counts_as_trained_on(build):
    stretches = Selection.of([rows("tp", "tprr", "tppp"), rows("tr", "trr", name="other")], 3)
    assert Weighing(RESPONSE, "token").lengths(stretches).tolist() == [3, 2, 3]
    found = build(rows("tp", "tprr", "tppp"), rows("tr", "trr", name="other"), max_length=3)
    assert found.lengths.tolist() == [3, 2, 3]
    assert found.dataset.tolist() == [0, 1, 1]
    assert [found.origin(i) for i in range(3)] == [("data", "1"), ("other", "0"), ("other", "1")]


@given(
    items=st.lists(
        st.tuples(st.sampled_from("ab"), st.lists(st.text("tpr", min_size=1, max_size=9), max_size=8), st.randoms()),
        max_size=4,
    ),
    max_length=st.integers(1, 10),
    together=st.integers(1, 20),
    reduction=st.sampled_from(["token", "example"]),
)
def test_a_corpus_is_what_weighing_each_example_alone_gives(tmp_path_factory, items, max_length, together, reduction):
    loss = token_loss(lambda batch: batch.is_part(Part.RESPONSE) + 0.25 * batch.leads(Part.PROMPT))
    mixture, wanted = [], []
    for name, texts, draw in items:
        some = sorted(draw.sample(range(len(texts)), k=len(texts) // 2))
        mixture.append(replace(rows(*texts, name=name), rows=np.asarray(some, np.int64)))
        wanted += [(name, texts[i]) for i in some]
    alone = []
    for name, text in ((name, text[:max_length]) for name, text in wanted):
        led = len(text) - len(text.lstrip("p"))
        weights = [(letter == "r") + 0.25 * (i < led) if i else 0.0 for i, letter in enumerate(text)]
        total = sum(weights) if reduction == "example" else 1.0
        if any(weights):
            alone.append((name, text, [weight / total for weight in weights]))
    folder = tmp_path_factory.mktemp("corpus")

    def made():
        with patch.object(selection, "TOGETHER", together):
            write(Selection.of(mixture, max_length), Weighing(loss, reduction), folder)
        return read(folder)

    if not alone:
        with pytest.raises(UserError, match=r"no examples to train on|has a token that the loss scores"):
            made()
        return
    found = made()
    assert [found.names[i] for i in found.dataset] == [name for name, _, _ in alone]
    assert found.lengths.tolist() == [len(text) for _, text, _ in alone]
    assert found.ids.tolist() == [i for _, text, _ in alone for i in range(len(text))]
    assert found.parts.tolist() == [LETTERS[letter] for _, text, _ in alone for letter in text]
    np.testing.assert_allclose(found.weights, [weight for _, _, row in alone for weight in row], rtol=1e-6)
    assert found.scored.tolist() == [sum(weight > 0 for weight in row) for _, _, row in alone]
    assert found.truncated == sum(len(text) > max_length for _, text in wanted)
    assert (found.dropped, found.special_in_text) == (len(wanted) - len(alone), len(wanted))


@given(
    pairs=st.lists(st.tuples(*[st.text("tpr", min_size=1, max_size=9)] * 2), min_size=1, max_size=8),
    max_length=st.integers(1, 10),
    together=st.integers(1, 20),
)
def test_a_pair_is_one_example_and_goes_or_stays_whole(tmp_path_factory, pairs, max_length, together):
    cut = [(one[:max_length], other[:max_length]) for one, other in pairs]
    kept = [pair for pair in cut if all("r" in conversation[1:] for conversation in pair)]
    chosen, rejected = ([rows(*side)] for side in zip(*pairs, strict=True))
    folder = tmp_path_factory.mktemp("corpus")

    def made():
        with patch.object(selection, "TOGETHER", together):
            write(Selection.paired(chosen, rejected, max_length), Weighing(RESPONSE, "pair"), folder)
        return read(folder)

    if not kept:
        with pytest.raises(UserError, match="has a token that the loss scores"):
            made()
        return
    found = made()
    assert len(found) == len(kept)
    assert found.lengths.tolist() == [len(one) + len(other) for one, other in kept]
    assert found.longest.tolist() == [max(map(len, pair)) for pair in kept]
    assert found.room("padded").tolist() == [2 * max(map(len, pair)) for pair in kept]
    for i, pair in enumerate(kept):
        spans = found.conversations(i)
        assert [found.parts[span].tolist() for span in spans] == [[LETTERS[c] for c in text] for text in pair]
        assert [found.ids[span].tolist() for span in spans] == [list(range(len(text))) for text in pair]
    assert [found.origin(i)[1] for i in range(len(found))] == [str(i) for i, pair in enumerate(cut) if pair in kept]
    assert found.dropped == len(pairs) - len(kept)
