"""The methods of a comparison in sentences: the tests and intervals that its numbers came from, and no others."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

from harness.board import contrasttext as words
from harness.board import text
from harness.board.contrasts import Contrasts
from harness.board.differences import FIRM_SEEDS, MARK_SEEDS
from harness.board.intervals import Interval
from harness.board.marks import Comparison
from harness.board.numbers import MISSING_LIMIT
from harness.board.resampling import RESAMPLES
from harness.board.rows import Row

SCORES: Mapping[str, str] = {
    "wilson": "Wilson's score interval over items",
    "t over items": "Student's t over items",
    "linearised t over items": "Student's t over weighted items, with the linearised standard error of a ratio",
    "bootstrap over items": f"percentiles of {RESAMPLES:,} resamples of each benchmark's items",
    "t over seeds": "Student's t over seeds",
}
"""What each interval of a score is."""

PAIRED_T = "Student's paired t test over seeds, and its interval"
MCNEMAR = "McNemar's exact test over items, with the interval of Bonett and Price (2012)"
LINEARISED = (
    "Student's t test over paired items with the linearised standard error (for composites Welch and Satterthwaite's "
    f"degrees of freedom), with expanded percentiles of {RESAMPLES:,} paired resamples of the items (Hesterberg, "
    "2015), the generator's seed fixed"
)
TANGO = "Tango's score tests of 1998"
STUDENT = "Student's t with the same standard errors"
UNTESTED = "no test, since nothing says how the difference would vary"


def methods(made: Contrasts, rows: Sequence[Row]) -> list[str]:
    """The paragraph, sentence by sentence."""
    return [*_asked(made), *_scores(made, rows), *_differences(made), *_claims(made)]


def test_of(compared: Comparison) -> str:
    """The test behind a comparison."""
    found = compared.difference
    if found is None or found.p is None:
        return UNTESTED
    if found.claim == "method":
        return PAIRED_T
    return MCNEMAR if found.interval and found.interval.method == "Bonett-Price over items" else LINEARISED


def equality_of(compared: Comparison) -> str:
    """The one-sided tests of equality that a comparison had; empty where it had none, or its marks are barred."""
    found = compared.difference
    if found is None or compared.adjusted_equivalence_p is None:
        return ""
    return TANGO if found.disagreements else STUDENT


def _asked(made: Contrasts) -> Iterator[str]:
    suite = made.suite if made.suite_version is None else f"{made.suite} {made.suite_version}"
    benchmarks = ", ".join(f"{name} (protocol {column.protocol})" for name, column in made.benchmarks.items())
    yield f"All arms were asked the same items of the suite {suite}: {benchmarks}."
    lower = [name for name, column in made.benchmarks.items() if not column.higher_is_better]
    turned = f", with 1 - score for {', '.join(lower)}, where lower is better" if lower else ""
    yield f"The {text.COMPOSITE}, declared with the suite, is the {made.composite}{turned}."
    if made.limit is not None:
        yield f"Only the first {made.limit} items of each benchmark were asked."


def _scores(made: Contrasts, rows: Sequence[Row]) -> Iterator[str]:
    """Which interval is whose."""
    by_method: dict[str, dict[str, None]] = {}
    for name, interval in _intervals(made, rows):
        by_method.setdefault(interval.method, {})[name] = None
    said = [f"{SCORES[method]} ({', '.join(names)})" for method, names in by_method.items()]
    if said:
        yield f"Intervals of scores hold with 95 % confidence and are {'; '.join(said)}."


def _intervals(made: Contrasts, rows: Sequence[Row]) -> Iterator[tuple[str, Interval]]:
    for row in rows:
        yield from ((name, task.interval) for name, task in row.result.tasks.items() if task.interval)
    yield from ((text.COMPOSITE, side.interval) for side in made.sides if side.interval)


def _differences(made: Contrasts) -> Iterator[str]:
    """Which test is whose, and how many there were."""
    said = _by_test(made, test_of)
    yield f"Differences were tested on the same items or the same seeds of both arms, two-sided: {said}."
    yield (
        f"The p-values are adjusted for the number of comparisons ({words.family(made)}) and a difference is marked at "
        f"{100 * made.level:g} %; the intervals are not adjusted."
    )
    if equal := _by_test(made, equality_of):
        yield (
            f"Two arms count as equal where two one-sided tests (TOST; Schuirmann, 1987), adjusted likewise, place "
            f"their difference within {text.points(made.margin)}: {equal}."
        )
    if any(compared.detectable is not None for _, compared in _comparisons(made)):
        yield "The minimum detectable difference is found in 80 % of cases by a two-sided test, before adjusting."


def _by_test(made: Contrasts, tested: Callable[[Comparison], str]) -> str:
    """Each test with what was tested by it."""
    by_test: dict[str, dict[str, None]] = {}
    for name, compared in _comparisons(made):
        if test := tested(compared):
            by_test.setdefault(test, {})[name] = None
    return "; ".join(f"{test} ({', '.join(names)})" for test, names in by_test.items())


def _claims(made: Contrasts) -> Iterator[str]:
    """What the tests speak of, and when they say nothing."""
    found = [compared for _, compared in _comparisons(made)]
    claims = {compared.difference.claim for compared in found if compared.difference}
    if "method" in claims:
        yield (
            "Tests over seeds speak of the methods: how training again would turn out. They are provisional below "
            f"{FIRM_SEEDS} seeds, and below {MARK_SEEDS} nothing is marked."
        )
    if "checkpoint" in claims:
        yield "Tests over items speak of the trained models alone: how they would do on other items of the kind."
    yield (
        "What a model got wrong is scored; what the apparatus failed to score is missing, and more than "
        f"{100 * MISSING_LIMIT:g} % of that, or unequally much, bars any mark."
    )
    barred = sorted({compared.blocked for compared in found if compared.blocked})
    if barred:
        yield f"Here marks were barred because {'; '.join(barred)}."


def _comparisons(made: Contrasts) -> Iterator[tuple[str, Comparison]]:
    for one in made.contrasts:
        yield text.COMPOSITE, one.composite
        yield from one.cells.items()
