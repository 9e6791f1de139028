"""What marks and intervals promise, on simulated data of which the truth is known: 2,000 comparisons each, seeded.

Promised are 5 % of wrong marks and 95 % of intervals that hold the truth; 6.5 % and 93 % leave room for 2,000 draws (3
standard errors are 1.5 points) and for what an approximation costs at 33 items.
"""

from functools import partial

import numpy as np
import pytest
from scipy import stats

from harness.board.compare import compare
from harness.board.differences import method_difference, paired_composite
from harness.board.items import ItemScores
from harness.board.marks import Comparison, holm, marked_comparisons
from harness.testing.boards import synthetic

COMPARISONS = 2_000
WRONG, COVERED = 0.065, 0.93
MARGIN = 0.01


def scores(values, weights=None):
    """Scores of the items 0, 1, 2, ..."""
    items = ITEMS.setdefault(len(values), tuple(("", f"{n:05}") for n in range(len(values))))
    return ItemScores(items, values, np.ones(len(values)) if weights is None else weights)


ITEMS = {}


def mark_of(difference, blocked=""):
    """The mark that a board with this comparison alone gives it."""
    comparison = Comparison(difference=difference, blocked=blocked)
    (marked,) = marked_comparisons({("", ""): comparison}, holm, {"": True}, MARGIN).values()
    return marked.mark


class Tally:
    """How often marks were wrong and intervals held the truth."""

    def __init__(self, differences, truth):
        self.n = self.wrong = self.covered = self.equal = self.found = 0
        for one in differences:
            mark = mark_of(one)
            self.n += 1
            self.wrong += mark == ("-" if truth > 0 else "+") or (mark in "+-" and truth == 0)
            self.found += mark == "+"
            self.equal += mark == "="
            self.covered += one.interval is not None and one.interval.low - 1e-9 <= truth <= one.interval.high + 1e-9

    def holds(self, *, intervals=True):
        assert self.n == COMPARISONS
        assert self.wrong / self.n <= WRONG
        assert not intervals or self.covered / self.n >= COVERED


# --- items: pairs of checkpoints -----------------------------------------------------------------------------------


def right_or_wrong(draw, n, truth, discordant=0.19):
    """Two models disagree on a share of the items, as two do on grade-school problems."""
    counts = draw.multinomial(n, [(discordant + truth) / 2, (discordant - truth) / 2, *[(1 - discordant) / 2] * 2])
    return tuple(scores(np.repeat(answers, counts)) for answers in ([1.0, 0.0, 1.0, 0.0], [0.0, 1.0, 1.0, 0.0]))


def ratings(draw, n, truth):
    """Whole ratings from 1 to 10 of questions that differ in difficulty."""
    question = draw.normal(7, 1.5, n)
    a, b = (np.clip(np.round(question + draw.normal(0, 1.5, n)), 1, 10) / 10 for _ in range(2))
    return scores(a + truth), scores(b)


def shares(draw, n, truth):
    """Any number from 0 to 1, of items that weigh 1, 2 or 5."""
    item, weights = draw.beta(2, 2, n), draw.choice([1.0, 2.0, 5.0], n)
    return scores(item + draw.normal(0, 0.15, n) + truth, weights), scores(item + draw.normal(0, 0.15, n), weights)


def few_differ(draw, n, truth):
    """On four of five items both score alike; the rest differs by any amount, mostly one way where there is a truth."""
    way = np.where(draw.random(n) < 0.5 + truth / 0.2, 1, -1)
    gain = np.where(draw.random(n) < 0.2, draw.random(n) * way, 0)
    return scores(0.5 + gain), scores(np.full(n, 0.5))


def by_length(draw, n, truth):
    """Any number from 0 to 1, of items that weigh as texts are long: a third of them has most of the weight."""
    item, weights = draw.beta(2, 2, n), draw.lognormal(2.5, 1, n)
    return scores(item + draw.normal(0, 0.15, n) + truth, weights), scores(item + draw.normal(0, 0.15, n), weights)


def right_or_wrong_by_length(draw, n, truth):
    """Two models that answer half of such items right, each others."""
    weights = draw.lognormal(2.5, 1, n)
    return tuple(scores((draw.random(n) < 0.5 + lift) * 1.0, weights) for lift in (truth, 0.0))


def turned(draw, n, truth):
    """Alike but for a little, and a few wholly wrong answers that came right: those are all the truth there is."""
    came_right = draw.random(n) < truth
    a, b = draw.uniform(0.2, 0.8, n), draw.normal(0, 0.03, n)
    return scores(np.where(came_right, 1.0, a + b)), scores(np.where(came_right, 0.0, a))


SUITE = ((right_or_wrong, 2, 0.5), (ratings, 1, 0.25), (partial(right_or_wrong, discordant=0.05), 5, 0.25))
"""World, times so many items, and share of a composite in which the smallest benchmark weighs a quarter."""


def checkpoints(world, n, truth, *, interval=True):
    draw = np.random.default_rng([n, round(1000 * truth)])
    for _ in range(COMPARISONS):
        yield paired_composite([world(draw, n, truth)], interval=interval)


def composites(n, truth, *, interval=True):
    draw = np.random.default_rng([n, round(1000 * truth), 1])
    weights = [share for *_, share in SUITE]
    for _ in range(COMPARISONS):
        yield paired_composite([world(draw, times * n, truth) for world, times, _ in SUITE], weights, interval=interval)


@pytest.mark.parametrize(
    ("n", "truth"),
    [
        *((n, truth) for n in (33, 164, 1319) for truth in (0.0, 0.08)),
        (14_000, 0.0),
        pytest.param(14_000, 0.08, marks=pytest.mark.soak),
    ],
)
def test_right_or_wrong(n, truth):
    Tally(checkpoints(right_or_wrong, n, truth), truth).holds()


@pytest.mark.parametrize("truth", [0.0, 0.04])
@pytest.mark.parametrize("n", [33, 164])
def test_right_or_wrong_that_rarely_disagree(n, truth):
    Tally(checkpoints(partial(right_or_wrong, discordant=0.05), n, truth), truth).holds()


@pytest.mark.parametrize(
    ("world", "n"),
    [
        *((world, n) for world in (ratings, shares, few_differ) for n in (33, 80, 1319)),
        *((world, n) for world in (by_length, right_or_wrong_by_length) for n in (33, 164)),
        *(pytest.param(world, 14_000, marks=pytest.mark.soak) for world in (ratings, shares, few_differ)),
    ],
)
def test_marks_of_graded_scores(world, n):
    Tally(checkpoints(world, n, 0.0, interval=False), 0.0).holds(intervals=False)


@pytest.mark.parametrize(("world", "truth"), [(shares, 0.05), (few_differ, 0.08)])
def test_intervals_of_33_graded_scores(world, truth):
    Tally(checkpoints(world, 33, truth), truth).holds()


@pytest.mark.soak
@pytest.mark.parametrize("truth", [0.0, 0.05])
@pytest.mark.parametrize(
    ("world", "n"),
    [
        (ratings, 33),
        (few_differ, 33),
        (ratings, 80),
        (ratings, 1319),
        (ratings, 14_000),
        (shares, 80),
        (shares, 1319),
        (few_differ, 80),
    ],
)
def test_intervals_of_many_graded_scores(world, n, truth):
    Tally(checkpoints(world, n, truth), truth).holds()


@pytest.mark.parametrize("n", [33, 164, pytest.param(1319, marks=pytest.mark.soak)])
def test_marks_of_composites(n):
    Tally(composites(n, 0.0, interval=False), 0.0).holds(intervals=False)


def test_intervals_of_composites():
    Tally(composites(33, 0.04), 0.04).holds()


@pytest.mark.soak
@pytest.mark.parametrize("n", [164, 1319])
def test_intervals_of_large_composites(n):
    Tally(composites(n, 0.04), 0.04).holds()


def test_equality_is_not_claimed_of_a_difference_as_large_as_the_margin():
    for world, n in ((partial(right_or_wrong, discordant=0.02), 1319), (ratings, 1319)):
        found = Tally(checkpoints(world, n, MARGIN, interval=False), MARGIN)
        assert found.equal / found.n <= WRONG
    for n in (240, 400, 1319):  # all disagreements one way
        found = Tally(checkpoints(partial(right_or_wrong, discordant=MARGIN), n, MARGIN, interval=False), MARGIN)
        assert found.equal / found.n <= WRONG
    for n in (500, 1319):
        found = Tally(checkpoints(turned, n, MARGIN, interval=False), MARGIN)
        assert found.equal / found.n <= WRONG
    equal = Tally(checkpoints(partial(right_or_wrong, discordant=0.02), 5000, 0.0, interval=False), 0.0)
    assert equal.equal / equal.n >= 0.9


@pytest.mark.parametrize("lifts", [(0.01, 0.01), (0.02, 0.0)])
@pytest.mark.parametrize("n", [330, 1000])
def test_composites_are_not_called_equal_at_the_margin(n, lifts):
    """All disagreements point one way, so that few of them are few of either kind."""
    draw, equal = np.random.default_rng(n), 0
    for _ in range(COMPARISONS):
        pairs = [right_or_wrong(draw, n, lift, discordant=lift) for lift in lifts]
        equal += mark_of(paired_composite(pairs, interval=False)) == "="
    assert equal / COMPARISONS <= WRONG


# --- seeds: pairs of methods ---------------------------------------------------------------------------------------

LEVELS = np.linspace(0.3, 0.7, 9)
"""How often items are answered right, by their difficulty."""


def trained(draw, n, seeds, chances, spread):
    """Mean scores of one method's seeds on n items, and the first seed's answers; each seed moves all chances alike."""
    counts = np.diff(np.linspace(0, n, len(chances) + 1).astype(int))
    moved = np.clip(chances + spread * draw.normal(size=(seeds, 1)), 0, 1)
    first = (draw.random(n) < moved[0].repeat(counts)).astype(float)
    return [first.mean(), *draw.binomial(counts, moved[1:]).sum(axis=1) / n], scores(first)


def with_scores(row, by_seed):
    """The row with other mean scores on chat."""
    task = row.result.tasks["chat"]
    parts = [part.model_copy(update={"score": float(one)}) for part, one in zip(task.seeds, by_seed, strict=True)]
    tasks = {"chat": task.model_copy(update={"seeds": tuple(parts)})}
    return row.model_copy(update={"result": row.result.model_copy(update={"tasks": tasks})})


def methods(n, seeds, truth, spread, levels=LEVELS):
    """Two methods as a board compares them: where all seeds differ by as much, by the first seed's items."""
    draw = np.random.default_rng([n, seeds, round(1000 * truth), round(1000 * spread)])
    *_, a, b = synthetic(4, seeds=seeds, items=10).rows
    never_read = scores(np.full(n, np.nan))
    for _ in range(COMPARISONS):
        (mine, first), (theirs, other) = (trained(draw, n, seeds, levels + lift, spread) for lift in (truth, 0.0))
        answers = {(a.id, 0): first, (b.id, 0): other}
        found = compare(
            with_scores(a, mine),
            with_scores(b, theirs),
            "chat",
            lambda row, _, seed, answers=answers: answers.get((row.id, seed), never_read),
        )
        yield found.difference


@pytest.mark.parametrize("spread", [0.0, 0.03])
@pytest.mark.parametrize("truth", [0.0, 0.05])
@pytest.mark.parametrize("seeds", [3, 5, 10])
@pytest.mark.parametrize("n", [33, 1319, pytest.param(14_000, marks=pytest.mark.soak)])
def test_methods(n, seeds, truth, spread):
    Tally(methods(n, seeds, truth, spread), truth).holds()


@pytest.mark.parametrize("truth", [0.0, 0.02])
@pytest.mark.parametrize(("n", "seeds"), [(33, 3), (33, 5), (164, 3)])
def test_methods_whose_seeds_often_agree(n, seeds, truth):
    """Nearly all items are answered right, so that many pairs of seeds differ by the same few, or by none."""
    found = list(methods(n, seeds, truth, 0.0, np.array([0.995 - truth])))
    assert sum(one.claim == "checkpoint" for one in found) > COMPARISONS / 100
    Tally(found, truth).holds()


@pytest.mark.parametrize("seeds", [3, 5, 10])
def test_methods_over_graded_scores_and_composites(seeds):
    """A composite of 33 rated questions and 1,319 problems; the seeds of both move together."""
    draw = np.random.default_rng(seeds)

    def seed_scores():
        moved = draw.normal(0, 0.02, seeds)
        rated = [np.clip(np.round(draw.normal(7, 2, 33)), 1, 10).mean() / 10 for _ in range(seeds)]
        return 0.5 * (draw.binomial(1319, 0.5 + moved) / 1319) + 0.5 * (np.array(rated) + moved)

    found = (
        method_difference(*(dict(enumerate(seed_scores().tolist())) for _ in range(2))) for _ in range(COMPARISONS)
    )
    Tally(found, 0.0).holds()


def test_methods_are_not_called_equal_at_the_margin():
    found = Tally(methods(14_000, 5, MARGIN, 0.003), MARGIN)
    assert found.n == COMPARISONS
    assert found.equal / found.n <= WRONG


def test_checkpoints_do_not_speak_for_methods():
    """Two seeds of one method, taken for checkpoints, are marked far too often: hence the other kind of claim."""
    draw, marked = np.random.default_rng(0), 0
    for _ in range(COMPARISONS):
        chances = np.clip(draw.normal(0.5, 0.03, 2), 0, 1)
        found = paired_composite([tuple(scores((draw.random(1319) < chance) * 1.0) for chance in chances)])
        marked += mark_of(found) in "+-"
    assert marked / COMPARISONS > 0.3


# --- what pairing finds --------------------------------------------------------------------------------------------


def test_the_paired_test_finds_what_the_unpaired_one_misses():
    """1,319 items that two models mostly answer alike, one of them 3 points better."""
    draw, unpaired = np.random.default_rng(0), 0
    world = partial(right_or_wrong, discordant=0.1)
    found = Tally(checkpoints(world, 1319, 0.03), 0.03)
    for _ in range(COMPARISONS):
        a, b = world(draw, 1319, 0.03)
        unpaired += stats.ttest_ind(a.values, b.values).pvalue < 0.05
    assert found.found / found.n > 0.9
    assert unpaired / COMPARISONS < 0.5


def test_pairing_by_seed_finds_what_the_unpaired_test_misses():
    """Five seeds whose data order moves both methods alike, by more than the methods differ."""
    draw, paired, unpaired = np.random.default_rng(0), 0, 0
    for _ in range(COMPARISONS):
        moved = draw.normal(0.5, 0.05, 5)
        a, b = moved + 0.03 + draw.normal(0, 0.01, 5), moved + draw.normal(0, 0.01, 5)
        paired += mark_of(method_difference(dict(enumerate(a)), dict(enumerate(b)))) == "+"
        unpaired += stats.ttest_ind(a, b).pvalue < 0.05
    assert paired / COMPARISONS > 0.9
    assert unpaired / COMPARISONS < 0.2
