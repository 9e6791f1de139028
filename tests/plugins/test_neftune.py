"""NEFTune against its definition, on packed and padded micro-batches, however a step is split and shared out."""

import numpy as np
import pytest
import torch

from harness.api import Part
from harness.arms import bind
from harness.armspec import ArmSpec
from harness.errors import UserError
from harness.train.batches import MicroBatches, Steps, by_examples
from harness.train.corpus import Corpus
from harness.train.microbatch import Draws, MicroBatch

WIDTH = 16
LAYOUTS = [
    ("packed", 30, 1),
    ("packed", 1000, 1),
    ("packed", 40, 3),
    ("grouped", 60, 1),
    ("grouped", 60, 2),
    ("padded", 1000, 1),
]


def loss(*methods, **options):
    return bind(ArmSpec(methods or ("neftune",), {"neftune": options} if options else {})).loss()


def noise(batch, width=WIDTH, **options):
    """What is added to the embeddings, [tokens, width]."""
    embeddings = torch.zeros(*batch.input_ids.shape, width)
    return loss(**options).embed(embeddings, batch)[0]


def corpus(n=11):
    """Examples of 3 to 30 tokens, one token scored in each."""
    lengths = np.random.Generator(np.random.PCG64(3)).integers(3, 30, size=n)
    weights = np.zeros(lengths.sum(), np.float32)
    weights[np.cumsum(lengths) - 1] = 1
    return Corpus(
        ids=np.arange(lengths.sum(), dtype=np.int32),
        parts=np.full(lengths.sum(), Part.RESPONSE, np.uint8),
        weights=weights,
        offsets=np.cumsum([0, *lengths]),
        dataset=np.zeros(n, np.int32),
        names=("made",),
    )


def micro_batches(rows, layout, micro_tokens, ranks, seed=4):
    """Every micro-batch of two epochs on all ranks, with the step that it belongs to."""
    order = by_examples(len(rows), 2 * len(rows), seed)
    steps = Steps.of(order, rows.lengths, 5, micro_tokens, ranks=ranks, layout=layout)
    shares = [MicroBatches(rows, steps, "token", rank, seed) for rank in range(ranks)]
    return [(i // steps.accumulation, share[i]) for share in shares for i in range(len(share))]


def by_example(rows, layout, micro_tokens, ranks, **options):
    """The noise of each step's examples, told apart by their first token."""
    found = {}
    for step, batch in micro_batches(rows, layout, micro_tokens, ranks, options.pop("seed", 4)):
        drawn = noise(batch, **options)
        for segment in range(int(batch.segments.max()) + 1):
            own = batch.segments[0] == segment
            found[step, int(batch.input_ids[0, own][0])] = drawn[own]
        assert not drawn[batch.segments[0] == -1].any()
    return found


# --- the noise -------------------------------------------------------------------------------------------------------


def test_the_noise_is_uniform_and_independent():
    batch = MicroBatch.of([np.zeros(n, np.int32) for n in (300, 500)], [np.zeros(n, np.uint8) for n in (300, 500)])
    drawn = batch.uniform(256)[0]
    assert drawn.dtype == torch.float32
    assert -1 < float(drawn.min()) < -0.9999
    assert 0.9999 < float(drawn.max()) < 1
    assert float(drawn.mean()) == pytest.approx(0, abs=0.004)
    counts = torch.histc(drawn, 20, -1, 1) / drawn.numel()
    assert counts.tolist() == pytest.approx([0.05] * 20, rel=0.05)
    together = torch.stack([drawn[:300].flatten(), drawn[300:600].flatten(), drawn[1:301].flatten()])
    assert torch.corrcoef(together).fill_diagonal_(0).abs().max() < 0.02
    assert len(drawn[:, 0].unique()) > 780


def test_draws_differ_by_seed_and_place_and_by_nothing_else():
    first = Draws(seed=1, places=(5, 6, 5))
    assert (first.levels(0, 100) == first.levels(2, 100)).all()
    assert (first.levels(0, 100)[:30] == first.levels(0, 30)).all()
    assert (first.levels(0, 100) != first.levels(1, 100)).any()
    assert (first.levels(0, 100) != Draws(seed=2, places=(5,)).levels(0, 100)).any()
    assert Draws(seed=-1, places=(0,)).levels(0, 3).dtype == np.int16


@pytest.mark.parametrize("padded", [False, True])
@pytest.mark.parametrize("alpha", [5.0, 15.0])
def test_each_example_gets_the_noise_of_its_own_length(padded, alpha):
    lengths = (400, 50, 100)
    batch = MicroBatch.of(
        [np.zeros(n, np.int32) for n in lengths], [np.zeros(n, np.uint8) for n in lengths], padded=padded
    )
    drawn = noise(batch, width=64, alpha=alpha)
    for segment, length in enumerate(lengths):
        own = drawn[batch.segments[0] == segment]
        bound = alpha / (length * 64) ** 0.5
        assert len(own) == length
        assert 0.99 * bound < float(own.abs().max()) < bound
        assert float(own.std()) == pytest.approx(bound / 3**0.5, rel=0.03)
    assert not drawn[batch.segments[0] == -1].any()


def test_the_padded_variant_takes_the_longest_example_of_the_step():
    rows = corpus()
    steps = {}
    for step, batch in micro_batches(rows, "packed", 40, 1):
        steps.setdefault(step, []).append(batch)
    for batches in steps.values():
        longest = max(max(batch.lengths) for batch in batches)
        for batch in batches:
            expected = batch.uniform(WIDTH)[0] * (5 / (longest * WIDTH) ** 0.5)
            torch.testing.assert_close(noise(batch, variant="padded"), expected)
    assert len({batch.longest for batches in steps.values() for batch in batches}) > 1


@pytest.mark.parametrize("variant", ["sample", "padded"])
def test_layouts_splits_and_ranks_draw_alike(variant):
    rows = corpus()
    wanted = by_example(rows, "packed", 8192, 1, variant=variant)
    assert len(wanted) == 2 * len(rows)
    for layout in LAYOUTS:
        found = by_example(rows, *layout, variant=variant)
        assert found.keys() == wanted.keys()
        for key, drawn in wanted.items():
            assert torch.equal(found[key], drawn)


def test_every_epoch_and_every_seed_draws_anew():
    rows = corpus()
    drawn = by_example(rows, "packed", 8192, 1)
    for first in rows.ids[rows.offsets[:-1]]:
        one, two = (noise for (_, token), noise in drawn.items() if token == first)
        assert not torch.equal(one, two)
    alike = torch.stack([drawn[0, token].flatten()[:40] for step, token in drawn if step == 0])
    assert len(alike.unique(dim=0)) == len(alike)


# --- the loss around it ----------------------------------------------------------------------------------------------


def test_gradients_pass_through_as_if_there_were_no_noise():
    batch = MicroBatch.of([np.zeros(6, np.int32)], [np.zeros(6, np.uint8)])
    embeddings = torch.randn(1, 6, WIDTH, requires_grad=True)
    direction = torch.randn(1, 6, WIDTH)
    noisy = loss().embed(embeddings, batch)
    assert not torch.equal(noisy, embeddings)
    (gradient,) = torch.autograd.grad(noisy, embeddings, direction)
    assert torch.equal(gradient, direction)


def test_the_embeddings_keep_their_precision():
    batch = MicroBatch.of([np.zeros(6, np.int32)], [np.zeros(6, np.uint8)])
    assert loss().embed(torch.zeros(1, 6, WIDTH, dtype=torch.bfloat16), batch).dtype == torch.bfloat16


def test_it_composes_with_a_loss_and_a_strategy():
    arm, im = bind(ArmSpec(("neftune", "im", "dmt"))), bind(ArmSpec(("im", "dmt")))
    assert arm.arm.plugins == ("dmt", "im", "neftune")
    assert [maker["plugin"].split()[0] for maker in arm.makers("loss_fn")] == ["im", "neftune"]
    assert arm.makers("loss_fn") != im.makers("loss_fn")
    batch = MicroBatch.of([np.zeros(4, np.int32)], [np.array([0, 1, 0, 2], np.uint8)])
    assert torch.equal(arm.loss().weights(batch), im.loss().weights(batch))
    assert arm.loss().embed is not None
    assert im.loss().embed is None
    assert arm.makers("strategy") == im.makers("strategy")


def test_it_adds_to_what_another_plugin_does_to_the_embeddings(tmp_path):
    path = tmp_path / "doubled.py"
    path.write_text(
        '"""Doubles the embeddings."""\n'
        "from harness.api import Loss, Part, Plugin, hookimpl\n"
        'PLUGIN = Plugin(name="doubled", version="1.0", summary="Doubles the embeddings.")\n\n\n'
        "@hookimpl\ndef loss_fn(arm):\n"
        '    """Response tokens, embedded twice as long."""\n'
        "    return Loss(weights=lambda batch: batch.is_part(Part.RESPONSE), embed=lambda found, batch: 2 * found)\n"
    )
    batch = MicroBatch.of([np.zeros(6, np.int32)], [np.zeros(6, np.uint8)])
    found = loss("neftune", str(path)).embed(torch.ones(1, 6, WIDTH), batch)
    torch.testing.assert_close(found[0], 2 + noise(batch))


@pytest.mark.parametrize("options", [{"alpha": 0}, {"variant": "both"}, {"alpha": -1}])
def test_options_that_make_no_noise_are_refused(options):
    with pytest.raises(UserError, match="neftune"):
        bind(ArmSpec(("neftune",), {"neftune": options}))
