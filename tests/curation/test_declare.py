"""What enters a curation's key, and what is refused before anything runs."""

from dataclasses import dataclass, field
from fractions import Fraction
from typing import ClassVar

import pytest

from harness.api import Curated, Curation
from harness.errors import UserError
from harness.judge.settings import Judging

JUDGE = Judging(model="judge-1", base_url="http://localhost:1/v1", name="here")


@dataclass(frozen=True)
class Part(Curation):
    """Some of it."""

    share: Fraction = Fraction(1, 3)
    words: tuple[str, ...] = ("a",)
    limits: dict = field(default_factory=dict)

    def curate(self, examples, tools):
        return {"all": examples}


@dataclass(frozen=True)
class Asks(Part):
    needs: ClassVar = frozenset({"judge"})


@dataclass(frozen=True)
class Reckons(Part):
    needs: ClassVar = frozenset({"model"})


@dataclass(frozen=True)
class Both(Part):
    needs: ClassVar = frozenset({"model", "judge"})


@dataclass(frozen=True)
class Named(Part):
    names: tuple[str, ...] = ()

    @property
    def portions(self):
        return self.names


def test_class_and_fields_are_declared(declare):
    declared = declare(Curated("talk", Part(limits={"low": 0.5})), seed=4)
    assert declared.curation == {"class": "Part", "share": "1/3", "words": ["a"], "limits": {"low": 0.5}}
    assert (declared.plugin, declared.seed, declared.portions) == ("own 1.0", 4, ("all",))
    assert (declared.engine, declared.judge, declared.embedder) == (None, None, None)


@pytest.mark.parametrize(
    "changed", [Part(Fraction(1, 4)), Part(words=("b",)), Part(limits={"low": 1}), Asks(), Named(names=("all",))]
)
def test_another_field_is_another_key(declare, changed):
    assert declare(Curated("talk", changed), judging=JUDGE) != declare(Curated("talk", Part()), judging=JUDGE)


def test_an_engine_and_a_judge_are_declared_where_they_are_asked(declare):
    assert declare(Curated("talk", Asks()), judging=JUDGE).judge["model"] == "judge-1"
    assert declare(Curated("talk", Part()), judging=JUDGE).judge is None
    assert declare(Curated("talk", Reckons(), model="base")).engine.name == "hf"


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (Curated("talk", Part(), "some"), r"own makes no portion 'some' \(there are: all\)"),
        (Curated("talk", Asks()), r"own asks a judge, and the recipe names none \(--set judge.model=NAME"),
        (Curated("talk", Reckons()), "own asks for likelihoods of no model"),
        (Curated("talk", Part(), model="base"), "own asks base for nothing"),
        (Curated("talk", Both(), model="base"), "own asks a model and a judge"),
        (Curated("talk", Part(limits={"f": print})), "own curates with fields that are no JSON"),
        (Curated("talk", Part(limits={"f": float("nan")})), "own curates with fields that are no JSON"),
        (Curated("talk", Named()), "own names its portions not at all"),
        (Curated("talk", Named(names=("a", "a")), "a"), "own names its portions 'a', 'a'"),
        (Curated("talk", Named(names=("../a",)), "../a"), r"own names its portions '../a' \(each needs a name"),
    ],
)
def test_what_is_refused(declare, data, why):
    with pytest.raises(UserError, match=why):
        declare(data)
