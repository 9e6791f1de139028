"""What the board is told of a run's recipe: equal where results can be compared, whatever the machine."""

import json

import pytest

from harness.data.resolve import Places
from harness.planner import build, choose_arms
from harness.recipe import load
from harness.results import _shared
from harness.settings import Setting
from harness.testing.tiny import tiny_recipe


@pytest.fixture
def shared(tmp_path):
    """The recipe as the rows of a run with these settings hold it."""

    def make(*settings):
        recipe = load(str(tiny_recipe(tmp_path)), [Setting.parse(text) for text in settings])
        arms = choose_arms(recipe, [], [], baseline=True, factorial=False)
        plan = build(recipe, arms, Places(None, None))
        return _shared(plan, next(key for key, job in plan.jobs.items() if job.kind == "prepare"))

    return make


@pytest.fixture
def rows(tmp_path):
    def write(place, n):
        (tmp_path / place).mkdir()
        file = tmp_path / place / "mine.jsonl"
        file.write_text("".join(json.dumps({"prompt": f"{i}?", "completion": f"{i}!"}) + "\n" for i in range(n)))
        return f"data.general={file}"

    return write


def test_data_counts_by_content_and_not_by_place(shared, rows):
    one, moved, other = (shared(rows(place, n)) for place, n in (("a", 9), ("b", 9), ("c", 8)))
    assert one == moved
    assert one != other
    assert "mine.jsonl" not in json.dumps(one)


@pytest.mark.parametrize("setting", ["playground.chat=41", "dmt.k=1/2", "train.lr=0.1"])
def test_what_all_arms_share_is_in_it(shared, setting):
    assert shared(setting) != shared()


JUDGE = "judge.model=judge-7b", "judge.base_url=http://localhost:1/v1"


def test_a_judge_is_in_it_where_one_is_asked(shared):
    assert shared(*JUDGE) == shared()
    judged = shared(*JUDGE, "benchmarks=[mt_bench:mt_bench]")
    assert judged["judge"]["model"] == "judge-7b"
    assert shared("benchmarks=[mt_bench:mt_bench]", "judge=later")["judge"] == "later"


@pytest.mark.parametrize("setting", ["seeds=[3]", "limit=2", "runtime.workers=2"])
def test_what_tells_runs_apart_without_changing_what_they_compare_is_not(shared, setting):
    assert shared(setting) == shared()
