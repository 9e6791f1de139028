"""Preference pairs by ground truth, by hand and as properties; and a whole run, killed while it samples and refines."""

from __future__ import annotations

import signal
import time
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.api import ANSWERED, Answered, Curated, DataInfo, Example, Message, Mixture, UserError
from harness.arms import ArmSpec, bind
from harness.discovery import load_plugin
from harness.store import Store
from harness.testing.tiny import tiny_recipe

refine = load_plugin("self_refine").module
PATTERN = r"####\s*(.+)"


class Told(dict):
    """The tools of a curation that wants none but a seed, and to tell."""

    seed = 0

    def tell(self, name, value):
        self[name] = value


def example(name, answer, of=None, question="how many?"):
    turns = (Message("user", question), Message("assistant", answer))
    return Example(name, turns, {} if of is None else {ANSWERED: of})


def preferences(pairs=1, max_pairs=None, demonstrations=False):
    return refine.Preferences(PATTERN, pairs, max_pairs, demonstrations)


def shown(pairs):
    return [(pair.messages[-1].content, pair.rejected) for pair in pairs]


# --- pairs -----------------------------------------------------------------------------------------------------------

FIVE = [
    example("d/1", "2 and 3\n#### 5"),
    example("a/1.0", "#### 5", of="1"),
    example("a/1.1", "two, three\n#### 5.0", of="1"),
    example("a/1.2", "I add\n#### 6", of="1"),
    example("a/1.3", "two, three\n#### 5.0", of="1"),
    example("a/1.4", "I add up\n#### 5", of="1"),
    example("a/1.5", "no idea", of="1"),
]


def test_chosen_reasons_its_way_to_the_truth_and_rejected_does_not_get_there():
    tools = Told()
    found = preferences().curate(FIVE, tools)["all"]
    assert shown(found) == [("two, three\n#### 5.0", "I add\n#### 6")]
    assert found[0].id == "a/1.1"
    # "#### 5" reasons nothing: neither chosen nor rejected; the same text twice is one answer.
    assert tools == {"no_ground_truth": 0, "right": 2, "wrong": 2, "pairs": 1}


def test_several_pairs_of_a_prompt_share_no_answer():
    found = preferences(pairs=5).curate(FIVE, Told())["all"]
    assert shown(found) == [("two, three\n#### 5.0", "I add\n#### 6"), ("I add up\n#### 5", "no idea")]


WRONG = [example("d/1", "2 and 3\n#### 5"), example("a/1.0", "I add\n#### 6", of="1")]


def test_without_a_right_answer_the_datas_own_is_preferred_if_wanted():
    with pytest.raises(UserError, match=r"a right answer \(0 in all\) and a wrong one \(1\)"):
        preferences().curate(WRONG, Told())
    assert shown(preferences(demonstrations=True).curate(WRONG, Told())["all"]) == [
        ("2 and 3\n#### 5", "I add\n#### 6")
    ]


def test_prompts_without_a_ground_truth_are_left_out_and_counted():
    tools = Told()
    untold = [example("d/2", "who knows", question="why?"), example("a/2.0", "#### 5", of="2", question="why?")]
    assert len(preferences().curate([*FIVE, *untold], tools)["all"]) == 1
    assert tools["no_ground_truth"] == 1


def test_the_number_of_pairs_in_all_is_bounded_by_a_seeded_draw():
    many = []
    for i in range(20):
        many += [example(f"d/{i}", "so\n#### 1", question=str(i)), example(f"a/{i}.0", "so so\n#### 1", str(i), str(i))]
        many.append(example(f"a/{i}.1", "so\n#### 2", str(i), str(i)))
    all_ = preferences().curate(many, Told())["all"]
    ten, five = (preferences(max_pairs=n).curate(many, Told())["all"] for n in (10, 5))
    assert (len(all_), len(ten), len(five)) == (20, 10, 5)
    assert [pair for pair in all_ if pair in ten] == ten
    assert [pair for pair in ten if pair in five] == five
    other = Told()
    other.seed = 1
    assert preferences(max_pairs=5).curate(many, other)["all"] != five


@given(st.lists(st.lists(st.integers(0, 3), max_size=6), min_size=1, max_size=4), st.integers(1, 3))
def test_every_pair_is_one_right_and_one_wrong_answer_to_one_prompt(answers, most):
    given_ = []
    for i, of_prompt in enumerate(answers):
        given_.append(example(f"d/{i}", "well\n#### 0", question=str(i)))
        given_ += [example(f"a/{i}.{k}", f"{k}\n#### {n}", str(i), str(i)) for k, n in enumerate(of_prompt)]
    expected = sum(min(most, of.count(0), len(of) - of.count(0)) for of in answers)
    if not expected:
        with pytest.raises(UserError, match="there is no pair"):
            preferences(pairs=most).curate(given_, Told())
        return
    found = preferences(pairs=most).curate(given_, Told())["all"]
    assert len(found) == expected
    assert len({pair.id for pair in found}) == expected
    texts = {(one.messages[0].content, one.messages[-1].content) for one in given_}
    for pair in found:
        assert pair.messages[-1].content.endswith("#### 0")
        assert not pair.rejected.endswith("#### 0")
        assert (pair.messages[0].content, pair.rejected) in texts
    assert max(Counter(pair.messages[0].content for pair in found).values()) <= most


# --- the strategy ----------------------------------------------------------------------------------------------------

DATA = {"maths": DataInfo("maths", "specialist", 60), "chats": DataInfo("chats", "general", 60)}


def stages(*names, **options):
    return list(bind(ArmSpec(names, {"self_refine": options})).stages(DATA))


def test_a_last_stage_learns_from_pairs_of_the_one_before():
    specialist, general, last = stages("self_refine", "mixed_sequential", role="specialist", lr=1e-5, beta=0.3)
    assert (specialist.name, general.name) == ("specialist", "general")
    answers = Answered("maths", model="general", samples=8, temperature=0.7, max_new_tokens=512)
    assert last.mixture == Mixture.of(Curated(("maths", answers), preferences(), name="preferences"))
    assert (last.objective, last.start, last.train) == ("dpo", "previous", {"lr": 1e-5})
    import torch

    assert last.loss.per_pair(torch.tensor([0.0]), torch.tensor([1.0])).item() == pytest.approx(0.554355)  # -ln s(0.3)


def test_several_experts_are_no_model_to_go_on_from():
    with pytest.raises(UserError, match=r"end with 4: expert_0, expert_1, expert_2, expert_3 \(leave it away"):
        stages("self_refine", "dtm")


@pytest.mark.parametrize(("pattern", "says"), [("#### .+", "has no group"), ("(", "is no regular expression")])
def test_patterns_that_find_no_answer_are_refused(pattern, says):
    with pytest.raises(UserError, match=says):
        stages("self_refine", answer=pattern)


# --- a run -----------------------------------------------------------------------------------------------------------

SETTINGS = (
    "data={general: [playground:playground_arithmetic]}",
    "benchmarks=[playground:playground_arithmetic]",
    "options.playground={arithmetic: 60}",
    "train.epochs=4",
    "self_refine.samples=3",
    "self_refine.temperature=1.0",
    "self_refine.max_new_tokens=48",
    r"self_refine.answer='it is (\d+)'",
    "self_refine.demonstrations=true",
    "self_refine.epochs=2",
    "self_refine.lr=0.001",
)
TRAINED, ANSWERS, PAIRS, REFINED = (
    f"self_refine: {what} (seed 0)"
    for what in (
        "train all",
        "all answers playground_arithmetic",
        "self_refine curates playground_arithmetic, playground_arithmetic answered by all",
        "train refine",
    )
)


def begin(command, folder):
    recipe = tiny_recipe(folder)
    given_ = [part for setting in SETTINGS for part in ("--set", setting)]
    places = ("--store", folder / "store", "--out", folder / "run")
    return command("run", recipe, "--plugins", "self_refine", "--no-baseline", *given_, *places, cwd=folder)


def finish(process):
    out, err = process.communicate(timeout=240)
    assert process.returncode == 0, err + out


def results(folder):
    return {entry.manifest["label"]: entry.manifest["result"] for entry in Store(folder / "store").entries()}


@pytest.fixture(scope="module")
def whole(command, tmp_path_factory):
    """A run that nothing happens to."""
    folder = tmp_path_factory.mktemp("whole")
    finish(begin(command, folder))
    return folder


@pytest.mark.timeout(300)
def test_a_run_refines_what_its_first_stage_learnt(whole):
    found = results(whole)
    told, answers = found[PAIRS]["told"], found[ANSWERS]
    assert found[PAIRS]["from"] == 60 + answers["examples"]
    assert answers["examples"] + answers["truncated"] == 180
    assert 0 < told["pairs"] == found[PAIRS]["examples"]["all"] <= 60
    refined = found[REFINED]
    assert refined["datasets"]["preferences"]["examples"] == refined["examples"] == 2 * told["pairs"]
    assert refined["first_loss"] == pytest.approx(0.693147, abs=1e-5)
    assert refined["final_loss"] < 0.6931
    entry = next(e for e in Store(whole / "store").entries() if e.manifest["label"] == REFINED)
    assert entry.manifest["declared"]["objective"] == "dpo"
    assert any(of["name"] == "self_refine" for of in entry.manifest["plugins"])


def wait_for(condition, process):
    end = time.monotonic() + 120
    while not condition():
        assert process.poll() is None, "it ended before it could be killed"
        assert time.monotonic() < end
        time.sleep(0.005)


def lines(folder, name):
    return max((len(path.read_bytes().splitlines()) for path in folder.glob(f"store/partial/*/{name}")), default=0)


def kill(process):
    process.send_signal(signal.SIGKILL)
    process.communicate()


@pytest.mark.soak
@pytest.mark.timeout(400)
def test_a_run_killed_while_it_samples_and_while_it_refines_ends_the_same(whole, command, tmp_path):
    process = begin(command, tmp_path)
    wait_for(lambda: lines(tmp_path, "responses.jsonl") >= 10, process)
    kill(process)
    assert TRAINED in results(tmp_path)
    assert ANSWERS not in results(tmp_path)
    process = begin(command, tmp_path)
    wait_for(lambda: PAIRS in results(tmp_path) and lines(tmp_path, "metrics.jsonl") >= 3, process)
    kill(process)
    assert REFINED not in results(tmp_path)
    finish(begin(command, tmp_path))
    assert results(tmp_path) == results(whole)
    manifests = {entry.manifest["label"]: entry.manifest for entry in Store(tmp_path / "store").entries()}
    assert manifests[ANSWERS]["measured"]["requests_stored"] >= 10
