"""Agreement with people, against other implementations of the same figures."""

import random
from itertools import combinations

import numpy as np
import pytest

from harness.judge.agreement import Graded, Vote, points_agreement, votes_agreement

MODELS, QUESTIONS = 5, 33


def total(points):
    return sum(points.values())


@pytest.fixture
def grades():
    """165 answers; the judge is off by up to 2 points, halves included."""
    draw = random.Random(3)
    found = []
    for model, question in ((m, q) for m in range(MODELS) for q in range(QUESTIONS)):
        human = draw.choice([0, 0.5, 1, 1.5, 2, 3, 4, 5])
        judged = max(0.0, human + draw.choice([-2, -1, -0.5, 0, 0, 0, 0.5, 1]))
        found.append(Graded(f"m{model}", str(question), human, judged))
    return found


def test_figures_are_those_of_other_implementations(grades):
    from sklearn.metrics import cohen_kappa_score, mean_absolute_error

    human, judged = ([getattr(g, side) for g in grades] for side in ("human", "judged"))
    found = points_agreement(grades, total)
    assert (found.answers, found.missing, found.questions) == (MODELS * QUESTIONS, 0, QUESTIONS)
    assert found.error.value == pytest.approx(mean_absolute_error(human, judged))
    doubled = [[round(2 * points) for points in side] for side in (human, judged)]
    assert found.kappa.value == pytest.approx(cohen_kappa_score(*doubled, weights="quadratic", labels=range(21)))
    off = np.abs(np.subtract(human, judged))
    assert found.exact.value == pytest.approx(np.mean(off == 0))
    assert found.within_one.value == pytest.approx(np.mean(off <= 1))


def test_intervals_are_those_of_drawing_questions(grades):
    """Questions are drawn with all their answers; another generator gives the same bounds but for its noise."""
    from scipy.stats import bootstrap
    from sklearn.metrics import cohen_kappa_score

    found = points_agreement(grades, total)
    by_question = [[g for g in grades if g.question == str(q)] for q in range(QUESTIONS)]

    def over(figure):
        def of(drawn):
            answers = [answer for question in drawn.astype(int) for answer in by_question[question]]
            return figure(np.array([a.human for a in answers]), np.array([a.judged for a in answers]))

        interval = bootstrap(
            (np.arange(QUESTIONS),), of, n_resamples=1000, method="percentile", vectorized=False, rng=7
        ).confidence_interval
        return interval.low, interval.high

    def kappa(human, judged):
        return cohen_kappa_score(2 * human, 2 * judged, weights="quadratic", labels=np.arange(21))

    error = over(lambda human, judged: np.mean(np.abs(human - judged)))
    assert (found.error.low, found.error.high) == pytest.approx(error, abs=0.03)
    assert (found.kappa.low, found.kappa.high) == pytest.approx(over(kappa), abs=0.03)
    assert points_agreement(grades, total) == found


def test_clusters_widen_the_interval():
    """A judge that is wrong on every answer to some questions: five answers to a question tell little more than one."""
    clustered = [Graded(f"m{m}", str(q), 0, float(q % 3 == 0)) for m in range(5) for q in range(30)]
    apart = [Graded(f"m{i}", str(i), 0, float(i % 3 == 0)) for i in range(150)]
    wide, narrow = (points_agreement(grades, total).error for grades in (clustered, apart))
    assert wide.value == narrow.value
    assert wide.high - wide.low > 2 * (narrow.high - narrow.low)


def test_what_one_of_them_did_not_grade_counts_nowhere_and_leaves_no_total(grades):
    gap = [Graded("m0", "0", 2.0, None), *grades[1:]]
    found = points_agreement(gap, total)
    assert (found.answers, found.missing) == (164, 1)
    assert found.totals["m0"].judged is None
    assert found.totals["m0"].error is None
    assert found.totals["m1"].error == pytest.approx(sum(g.judged - g.human for g in grades if g.model == "m1"))


def test_kappa_is_one_zero_or_not_defined():
    perfect = [Graded("m", str(q), q % 4, q % 4) for q in range(40)]
    chance = [Graded("m", f"{h} {j}", h, j) for h in range(4) for j in range(4)]
    constant = [Graded("m", str(q), 1, 1) for q in range(40)]
    assert points_agreement(perfect, total).kappa.value == pytest.approx(1)
    assert points_agreement(chance, total).kappa.value == pytest.approx(0, abs=1e-12)
    assert points_agreement(constant, total).kappa.value is None
    assert points_agreement(constant, total).exact.low == 1


def test_grades_of_nothing_in_common_are_of_nothing():
    found = points_agreement([Graded("m", "1", None, 1.0)], total)
    assert (found.answers, found.error.value) == (0, None)


# --- votes ---------------------------------------------------------------------------------------------------------


def vote(question, winner, judge, turn=1, models=("a", "b")):
    return Vote(str(question), turn, models, winner, judge)


def test_votes_are_compared_pair_by_pair():
    people = [
        vote(1, "a", "p1"),
        vote(1, "b", "p2"),
        vote(1, None, "p3"),
        vote(2, "a", "p1"),
        vote(3, "b", "p1", turn=2),
    ]
    judged = [vote(1, "a", "gpt"), vote(2, None, "gpt"), vote(3, "b", "gpt", turn=2), vote(4, "a", "gpt")]
    found = votes_agreement(people, judged)
    assert (found.pairs, found.with_ties.value) == (5, 2 / 5)
    assert (found.decided_pairs, found.without_ties.value) == (3, 2 / 3)
    second = votes_agreement(people, judged, turn=2)
    assert (second.pairs, second.with_ties.value, second.without_ties.value) == (1, 1, 1)


def test_people_among_themselves_are_compared_without_themselves():
    people = [
        vote(1, "a", "p1"),
        vote(1, "a", "p1"),
        vote(1, "b", "p2"),
        vote(1, "a", "p3"),
        vote(1, "a", "p4", turn=2),
    ]
    found = votes_agreement(people)
    assert (found.pairs, found.with_ties.value) == (5, 2 / 5)


def test_votes_on_other_models_are_other_votes():
    found = votes_agreement([vote(1, "a", "p1")], [vote(1, "a", "gpt", models=("a", "c"))])
    assert (found.pairs, found.with_ties.value, found.without_ties.value) == (0, None, None)


def test_nothing_decided_is_not_defined():
    found = votes_agreement([vote(1, None, "p1")], [vote(1, None, "gpt")])
    assert (found.with_ties.value, found.without_ties.value) == (1, None)


def test_agreement_is_the_chance_that_two_random_votes_are_equal():
    """The paper's definition, drawn: a random pair of votes of two kinds on one pair of answers."""
    draw = random.Random(5)
    people = [vote(q, draw.choice(["a", "b", None]), f"p{j}") for q in range(40) for j in range(draw.randint(1, 4))]
    judged = [vote(q, draw.choice(["a", "b", None]), "gpt") for q in range(40)]
    mine = votes_agreement(people, judged).with_ties.value
    votes = {one.question: one.winner for one in judged}
    assert mine == pytest.approx(np.mean([one.winner == votes[one.question] for one in people]))
    among = votes_agreement(people)
    pairs = [one.winner == other.winner for one, other in combinations(people, 2) if one.question == other.question]
    assert (among.pairs, among.with_ties.value) == (len(pairs), pytest.approx(np.mean(pairs)))
