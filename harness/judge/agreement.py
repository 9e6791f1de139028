"""How far a judge agrees with people: on points given for answers, and on which of two answers is better.

Every interval is a percentile interval over questions: answers to one question share its difficulties, so all that
was said of a question is drawn together.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations, product
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

RESAMPLES = 10_000
LEVEL = 0.95
_ROUNDING = 1e-12

Sums = dict[str, "NDArray[np.float64]"]
"""Of each question, what the figures are made of."""


@dataclass(frozen=True)
class Estimate:
    """A value and its interval; None where it is not defined."""

    value: float | None
    low: float | None
    high: float | None


@dataclass(frozen=True)
class Graded:
    """One answer to a question, graded by a person and by the judge. None: not graded."""

    model: str
    question: str
    human: float | None
    judged: float | None


@dataclass(frozen=True)
class Totals:
    """A model's points over all questions; None where a question is not graded."""

    human: float | None
    judged: float | None

    @property
    def error(self) -> float | None:
        """By how much the judge is too kind."""
        return None if self.human is None or self.judged is None else self.judged - self.human


@dataclass(frozen=True)
class PointsAgreement:
    """Points given by people and by a judge."""

    answers: int
    """Graded by both."""
    missing: int
    """Not graded by one of them: they count nowhere."""
    questions: int
    error: Estimate
    """Mean absolute error, in points."""
    exact: Estimate
    """Share of answers with equal points."""
    within_one: Estimate
    """Share with points that differ by 1 at most."""
    kappa: Estimate
    """Cohen's kappa with quadratic weights (1968): 1 is agreement, 0 what chance gives. Not defined where neither
    varies."""
    totals: Mapping[str, Totals]
    """Of each model."""


Rule = Callable[[Mapping[str, float]], float | None]
"""Makes a total of points by question; None where it cannot be told."""


def points_agreement(graded: Sequence[Graded], rule: Rule) -> PointsAgreement:
    """Compare grades, one by one and, by the rule, in total."""
    import numpy as np

    both = [(g.question, g.human, g.judged) for g in graded if g.human is not None and g.judged is not None]
    sums: Sums = {}
    for question, human, judged in both:
        off = abs(human - judged)
        row = np.array([1, off, off == 0, off <= 1, off**2, human, human**2, judged, judged**2])
        sums[question] = sums.get(question, 0) + row
    error, exact, within_one, kappa = _estimates(sums, _figures, 4)
    models = dict.fromkeys(g.model for g in graded)
    totals = {model: _totals([g for g in graded if g.model == model], rule) for model in models}
    return PointsAgreement(len(both), len(graded) - len(both), len(sums), error, exact, within_one, kappa, totals)


def _figures(sums: NDArray[np.float64]) -> NDArray[np.float64]:
    """Error, exact, within one and kappa of sums [..., 9]; shape [..., 4]."""
    import numpy as np

    n, off, exact, within, squared, human, human2, judged, judged2 = np.moveaxis(sums, -1, 0)
    # What the squared difference of a person's and the judge's points is on average, whatever answers they are of.
    by_chance = human2 / n + judged2 / n - 2 * (human / n) * (judged / n)
    kappa = 1 - squared / n / np.where(by_chance > _ROUNDING, by_chance, np.nan)
    return np.stack([off / n, exact / n, within / n, kappa], axis=-1)


def _totals(graded: Sequence[Graded], rule: Rule) -> Totals:
    def total(points: Mapping[str, float | None]) -> float | None:
        known = {question: value for question, value in points.items() if value is not None}
        return rule(known) if len(known) == len(points) else None

    return Totals(total({g.question: g.human for g in graded}), total({g.question: g.judged for g in graded}))


# --- votes ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Vote:
    """Which of two models' answers somebody prefers."""

    question: str
    turn: int
    models: tuple[str, str]
    """In alphabetical order, whoever stood first."""
    winner: str | None
    """One of the two; None is a tie."""
    judge: str

    @property
    def item(self) -> tuple[str, int, tuple[str, str]]:
        """What was voted on."""
        return self.question, self.turn, self.models


@dataclass(frozen=True)
class VotesAgreement:
    """How often two votes of different judges on the same two answers are equal (arXiv:2306.05685, section 4.2)."""

    pairs: int
    """Of votes, with ties."""
    with_ties: Estimate
    """A tie is a vote like any other; chance would give a third."""
    decided_pairs: int
    """Of votes, neither of them a tie."""
    without_ties: Estimate
    """Of those; chance would give a half."""


def votes_agreement(
    votes: Iterable[Vote], others: Iterable[Vote] | None = None, *, turn: int | None = None
) -> VotesAgreement:
    """Compare each vote with each of `others` on the same answers, or, without others, the votes with one another."""
    import numpy as np

    mine, theirs = _by_item(votes, turn), None if others is None else _by_item(others, turn)
    sums: Sums = {}
    for item, here in mine.items():
        pairs = combinations(here, 2) if theirs is None else product(here, theirs.get(item, ()))
        for one, other in pairs:
            if one.judge != other.judge:
                equal, decided = one.winner == other.winner, one.winner is not None and other.winner is not None
                row = np.array([1, equal, decided, equal and decided], dtype=np.float64)
                sums[item[0]] = sums.get(item[0], 0) + row
    with_ties, without_ties = _estimates(sums, _shares, 2)
    counts = np.sum([*sums.values()], axis=0) if sums else np.zeros(4)
    return VotesAgreement(int(counts[0]), with_ties, int(counts[2]), without_ties)


def _by_item(votes: Iterable[Vote], turn: int | None) -> dict[tuple[str, int, tuple[str, str]], list[Vote]]:
    found: dict[tuple[str, int, tuple[str, str]], list[Vote]] = {}
    for vote in votes:
        if turn in {None, vote.turn}:
            found.setdefault(vote.item, []).append(vote)
    return found


def _shares(sums: NDArray[np.float64]) -> NDArray[np.float64]:
    """Equal ones among all pairs and among decided ones of sums [..., 4]; shape [..., 2]."""
    import numpy as np

    return np.stack([sums[..., 1] / sums[..., 0], sums[..., 3] / sums[..., 2]], axis=-1)


# --- intervals -----------------------------------------------------------------------------------------------------


def _estimates(sums: Sums, figures: Callable[[NDArray[np.float64]], NDArray[np.float64]], n: int) -> list[Estimate]:
    """The `n` figures of all questions together, with intervals from drawing questions with replacement."""
    import numpy as np

    if not sums:
        return [Estimate(None, None, None)] * n
    rows = np.stack([sums[question] for question in sorted(sums)])
    drawn = np.random.default_rng(0).multinomial(len(rows), np.full(len(rows), 1 / len(rows)), size=RESAMPLES)
    with np.errstate(invalid="ignore", divide="ignore"):  # where a figure is not defined
        values, resampled = figures(rows.sum(axis=0)), figures(drawn @ rows)
    return [_estimate(float(value), column) for value, column in zip(values, resampled.T, strict=True)]


def _estimate(value: float, resampled: NDArray[np.float64]) -> Estimate:
    import numpy as np

    if np.isnan(value):
        return Estimate(None, None, None)
    low, high = np.nanquantile(resampled, (0.5 - LEVEL / 2, 0.5 + LEVEL / 2))
    return Estimate(value, float(low), float(high))
