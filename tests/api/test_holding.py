"""Data held out of stages, below whatever is made of it."""

from dataclasses import dataclass
from fractions import Fraction

from harness.api import Answered, Curated, Curation, Derived, Mixture, Stage, held_out, hold_out, sample

SHARE = Fraction(1, 10)


@dataclass(frozen=True)
class Same(Curation):
    def curate(self, examples, tools):  # noqa: ARG002 (of the base class)
        return {"all": examples}


def rest(name):
    return Derived(name, "rest", fraction=SHARE, seed=0)


def taken(name):
    return Derived(name, "sample", fraction=SHARE, seed=0)


def test_a_share_is_taken_out_of_the_datasets_themselves():
    stages = [
        Stage("one", Mixture.of("a", sample("b", Fraction(1, 2)), "text")),
        Stage("two", Mixture.of(Curated(("a", Answered("b")), Same()), Curated("a", Same())), start="base"),
    ]
    found = hold_out(stages, ["a", "b"], SHARE)
    assert found == [
        Stage("one", Mixture.of(rest("a"), sample(rest("b"), Fraction(1, 2)), "text")),
        Stage(
            "two",
            Mixture.of(Curated((rest("a"), Answered(rest("b"))), Same()), Curated(rest("a"), Same())),
            start="base",
        ),
    ]
    assert held_out(found) == (taken("a"), taken("b"))


def test_nothing_is_held_out_of_stages_that_were_left_alone():
    assert held_out([Stage("one", Mixture.of("a", sample("b", Fraction(1, 2))))]) == ()
