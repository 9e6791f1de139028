"""Phased fine-tuning: exact phases, its controls, and difficulties from a column, a judge and the base model's loss."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from fractions import Fraction
from itertools import pairwise
from typing import Any

import pytest
from harness.plugins.phased import ByLoss, Phases, number
from hypothesis import given
from hypothesis import strategies as st

from harness.api import DataInfo, Example, Message
from harness.arms import ArmSpec, bind
from harness.errors import UserError
from harness.store import Store
from harness.testing import run_tiny

DATA = {"talks": DataInfo("talks", "general", 90), "web": DataInfo("web", "pretraining", 1000)}


@dataclass
class Tools:
    """A seed, likelihoods by id, and what is told."""

    seed: int = 0
    likelihoods: dict[str, tuple[float, int]] = field(default_factory=dict)
    told: dict[str, Any] = field(default_factory=dict)

    def tell(self, name, value):
        self.told[name] = value

    def likelihood(self, examples):
        return [self.likelihoods[example.id] for example in examples]


def examples(scores):
    talk = (Message("user", "q"), Message("assistant", "a"))
    return [Example(f"e{i}", talk, {} if score is None else {"score": score}) for i, score in enumerate(scores)]


def split(scores, boundaries=(1.5, 3.5), *, random=False, seed=0):
    """Ids of each phase."""
    made = Phases("score", boundaries, random=random).curate(examples(scores), Tools(seed))
    return [[example.id for example in phase] for phase in made.values()]


def stages(**options):
    return list(bind(ArmSpec(("phased",), {"phased": options})).stages(DATA))


# --- phases --------------------------------------------------------------------------------------------------------


def test_an_example_of_a_cuts_own_difficulty_belongs_above_it():
    assert split([1, 1.4, 1.5, 3.4999, 3.5, 5, "3.5\n\n"]) == [["e0", "e1"], ["e2", "e3"], ["e4", "e5", "e6"]]


def test_quantiles_share_out_by_rank_and_equal_ones_in_the_order_of_the_data():
    assert split([9, 7, 7, 7, 1, 8], (Fraction(1, 3), Fraction(2, 3))) == [["e1", "e4"], ["e2", "e3"], ["e0", "e5"]]
    assert split([1, 2, 3], (Fraction(1, 2),)) == [["e0"], ["e1", "e2"]]


SCORED = st.lists(
    st.one_of(st.floats(1, 5), st.sampled_from([None, "", "hard", True, float("nan"), 10**400, "4.25"])),
    min_size=12,
    max_size=60,
)


@given(scores=SCORED, seed=st.integers(0, 9), quantiles=st.booleans())
def test_phases_are_exact_and_disjoint_and_the_control_has_their_sizes(scores, seed, quantiles):
    boundaries = (Fraction(1, 3), Fraction(2, 3)) if quantiles else (2.0, 4.0)
    scores = [*scores, 1, 3, 5]  # so that no phase is empty
    held = [example for example in examples(scores) if number(example.meta.get("score")) is not None]
    phases = split(scores, boundaries, seed=seed)
    control = split(scores, boundaries, random=True, seed=seed)
    assert [len(phase) for phase in control] == [len(phase) for phase in phases]
    for made in (phases, control):
        together = [id_ for phase in made for id_ in phase]
        assert sorted(together) == sorted(example.id for example in held)
        assert all(phase == sorted(phase, key=lambda id_: int(id_[1:])) for phase in made)
    assert control == split(scores, boundaries, random=True, seed=seed)
    difficulties = [[float(scores[int(id_[1:])]) for id_ in phase] for phase in phases]
    assert all(max(easy) <= min(hard) for easy, hard in pairwise(difficulties))


def test_the_control_is_drawn_by_the_seed():
    scores = [1, 2, 4] * 20
    assert len({json.dumps(split(scores, random=True, seed=seed)) for seed in range(4)}) == 4
    assert split(scores, seed=0) == split(scores, seed=1)


def test_examples_without_a_number_are_left_out_and_counted():
    tools = Tools()
    made = Phases("score", (2.0,)).curate(examples([1, None, "n/a", 3, True]), tools)
    assert [[example.id for example in phase] for phase in made.values()] == [["e0"], ["e3"]]
    assert tools.told == {"unscored": 3}


def test_no_scored_column_and_empty_phases_are_told_with_what_helps():
    with pytest.raises(UserError, match=r"no example has a number in the column 'score' \(name it: phased.column=NAME"):
        split([None, "easy"])
    with pytest.raises(UserError, match=r"falls into phase_1, phase_2: the difficulty runs from 3.5 to 5 "):
        split([3.5, 4, 5])


# --- stages --------------------------------------------------------------------------------------------------------


def test_stages_go_from_the_easiest_to_the_most_difficult():
    planned = stages()
    assert [stage.name for stage in planned] == ["phase_1", "phase_2", "phase_3"]
    assert {stage.start for stage in planned} == {"previous"}
    (first,) = planned[0].mixture.items
    assert (first.parents, first.curation, first.portion) == (("talks",), Phases("score", (1.5, 3.5)), "phase_1")


def test_the_controls_are_options():
    assert [stage.name for stage in stages(order=[3, 1, 2])] == ["phase_3", "phase_1", "phase_2"]
    (item,) = stages(split="random")[0].mixture.items
    assert item.curation == Phases("score", (1.5, 3.5), random=True)
    assert len(stages(quantiles=["1/4", "1/2", "3/4"])) == 4


def test_the_base_models_loss_is_cut_in_thirds():
    (item,) = stages(difficulty="loss")[0].mixture.items
    assert item.curation == Phases("difficulty", (Fraction(1, 3), Fraction(2, 3)))
    (weighed,) = item.parents
    assert (weighed.curation, weighed.model) == (ByLoss(), "base")


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"order": [1, 2]}, "each phase from 1 to 3 once"),
        ({"order": [1, 1, 2]}, "each phase from 1 to 3 once"),
        ({"cuts": [3, 2]}, "cuts ascend"),
        ({"quantiles": [0, "1/2"]}, "lie between 0 and 1"),
        ({"cuts": [2], "quantiles": ["1/2"]}, "either cuts or quantiles"),
    ],
)
def test_options_that_make_no_phases(options, why):
    with pytest.raises(UserError, match=why):
        stages(**options)


# --- difficulty ----------------------------------------------------------------------------------------------------


def test_the_loss_is_a_mean_over_the_responses_tokens():
    tools = Tools(likelihoods={"e0": (6.0, 4), "e1": (1.0, 10), "e2": (0.0, 0)})
    made = ByLoss().curate(examples([1, 2, 3]), tools)["all"]
    assert [example.meta for example in made] == [
        {"score": 1, "difficulty": 1.5},
        {"score": 2, "difficulty": 0.1},
        {"score": 3, "difficulty": None},
    ]


# --- runs ----------------------------------------------------------------------------------------------------------


def rows(folder, n=36):
    """Questions scored from 1 to 5, two of them by nobody."""
    path = folder / "scored.jsonl"
    with path.open("w") as file:
        for i in range(n):
            score = None if i in {3, 8} else 1 + i % 5
            file.write(
                json.dumps({"prompt": f"How many are {i}?", "completion": f"They are {i}.", "score": score}) + "\n"
            )
    return f"data={{general: {path}}}"


def trained(folder):
    """Examples of each stage, and what the curations told."""
    manifests = [entry.manifest for entry in Store(folder / "store").entries()]
    seen = {
        of["label"].split(" ", 2)[2].removesuffix(" (seed 0)"): of["result"]["examples"]
        for of in manifests
        if of["kind"] == "train" and of["label"].startswith("phased")
    }
    told: dict[str, Any] = {}
    for of in manifests:
        told |= of["result"].get("told", {})
    return seen, told


def test_a_run_trains_phase_after_phase_of_a_scored_column(tmp_path):
    run_tiny(["phased"], tmp_path, settings=[rows(tmp_path), "benchmarks=[playground]"])
    seen, told = trained(tmp_path)
    assert seen == {"phase_1": 8, "phase_2": 14, "phase_3": 12}
    assert told == {"unscored": 2}


def test_a_run_whose_base_model_weighs_the_examples(tmp_path):
    run_tiny(["phased:difficulty=loss:quantiles=[1/2]"], tmp_path, settings=[rows(tmp_path)])
    seen, told = trained(tmp_path)
    assert seen == {"phase_1": 18, "phase_2": 18}
    assert told == {"unscored": 0}


def test_a_run_whose_judge_talks_nonsense_now_and_then(tmp_path, scripted):
    def answer(body):
        asked = body["messages"][-1]["content"]
        if "are 7" in asked:
            return "What a question!"
        return "7" if "are 8" in asked else "4.5" if "are 1" in asked else "Score: 1"

    with scripted.ScriptedJudge(answer) as judge:
        settings = [rows(tmp_path), f"judge={{model: judge, base_url: {judge.base_url}, reask: 1}}"]
        run_tiny(["phased:difficulty=judge:cuts=[2]"], tmp_path, settings=settings)
        asked = len(judge.asked)
    seen, told = trained(tmp_path)
    assert seen == {"phase_1": 23, "phase_2": 11}
    assert told == {"no difficulty": {"judge_unparsed": 2}, "unscored": 2}
    assert asked == 38
