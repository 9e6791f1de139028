"""Suites: files that are read and refused, entries that name benchmarks, groups that hold each of them once."""

import json

import pytest

from harness.data.resolve import Places
from harness.planner import build, choose_arms
from harness.recipe import Recipe, load
from harness.results import _shared, _suite
from harness.settings import Setting
from harness.suite import chosen, read_suite, resolve, shipped_suites
from harness.testing.tiny import tiny_recipe

OWN = """
name: own
version: 1
summary: Two of the playground's skills.
benchmarks: [playground:playground_chat, playground:playground_code]
"""

OFFERS = """
    from harness.api import Evaluator, LmEvalTask, Plugin, hookimpl

    PLUGIN = Plugin(name="extras", version="1.0", summary="Benchmarks.")

    @hookimpl
    def evaluator(arm):
        def offer(name, optional):
            return Evaluator(name, "exact-1", task=LmEvalTask(name, metric="exact_match"), optional=optional)

        return [offer("usual", False), offer("long", True)]
"""


@pytest.fixture
def written(tmp_path):
    """Writes a suite; returns its path."""

    def write(text=OWN):
        path = tmp_path / "own.yaml"
        path.write_text(text)
        return str(path)

    return write


@pytest.mark.parametrize("name", shipped_suites())
def test_shipped_suites_resolve(name):
    suite = read_suite(name)
    assert suite.name == name
    assert resolve(suite)


def test_a_suite_of_ones_own_keeps_its_order(written):
    assert list(resolve(read_suite(written()))) == ["playground_chat", "playground_code"]


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (("summary:", "sumary:"), "there is no setting 'sumary' (did you mean 'summary'?)"),
        (("version: 1\n", ""), "version is missing (write version: and what it is)"),
        (("version: 1", "version: 0"), "version = 0 will not do: it must be at least 1"),
        (("benchmarks:", "composite: {group: {}}\nbenchmarks:"), "there is no setting 'composite.group'"),
    ],
)
def test_a_wrong_key_is_named_with_the_suite(written, refused, change, expected):
    path = written(OWN.replace(*change))
    assert refused(read_suite, path).startswith(f"the suite {path}: {expected}")


@pytest.mark.parametrize(
    ("entry", "expected"),
    [
        ("playground:playground_chats", "no benchmark 'playground_chats' (did you mean 'playground_chat'?)"),
        ("im", "the plug-in 'im' offers no benchmark (take it out of the benchmarks)"),
        ("gsm8kk", "no plug-in is called 'gsm8kk' (did you mean 'gsm8k'?)"),
    ],
)
def test_an_entry_that_names_nothing(written, refused, entry, expected):
    suite = read_suite(written(OWN.replace("playground:playground_chat", entry)))
    assert expected in refused(resolve, suite)


@pytest.mark.parametrize(
    ("groups", "expected"),
    [
        ("{all: [playground_chat]}", "has 'playground_code' in 0 groups (put every benchmark into one group)"),
        ("{a: [playground_chat, playground_code], b: [playground_code]}", "has 'playground_code' in 2 groups"),
        ("{a: [playground_chat, playground_code, chat]}", "groups 'chat', which is none of its benchmarks"),
    ],
)
def test_groups_hold_every_benchmark_once(written, refused, groups, expected):
    suite = read_suite(written(f"{OWN}composite: {{groups: {groups}}}\n"))
    assert expected in refused(resolve, suite)


def test_a_plugin_by_its_name_leaves_out_what_is_optional(distribution):
    from harness.arms import bind
    from harness.armspec import ArmSpec

    distribution("extras", {"extras": OFFERS})
    offered = bind(ArmSpec(("base",)), ["extras"]).evaluators()
    assert list(chosen(["extras"], offered)) == ["usual"]
    assert list(chosen(["extras:long", "extras"], offered)) == ["long", "usual"]


def test_a_plugin_of_optional_benchmarks_wants_one_named(distribution, refused):
    from harness.arms import bind
    from harness.armspec import ArmSpec

    distribution("extras", {"extras": OFFERS.replace('"usual", False', '"usual", True')})
    offered = bind(ArmSpec(("base",)), ["extras"]).evaluators()
    assert refused(chosen, ["extras"], offered) == (
        "all that the plug-in 'extras' offers is optional (name it: extras:usual, extras:long)"
    )


# --- in recipes ------------------------------------------------------------------------------------------------------


def planned(tmp_path, *settings):
    recipe = load(str(tiny_recipe(tmp_path)), [Setting.parse(text) for text in settings])
    arms = choose_arms(recipe, [], [], baseline=True, factorial=False)
    return build(recipe, arms, Places(None, None))


def test_a_suite_on_the_command_line_replaces_the_benchmarks(written, tmp_path):
    plan = planned(tmp_path, f"suite={written()}")
    assert plan.recipe.benchmarks == ()
    assert list(plan.arms[0].seeds[0].evaluations) == ["playground_chat", "playground_code"]
    recipe = plan.recipe
    assert Recipe.model_validate(json.loads(recipe.model_dump_json())) == recipe


def test_benchmarks_on_the_command_line_replace_the_suite(written, tmp_path):
    recipe = tiny_recipe(tmp_path)
    recipe.write_text(recipe.read_text().replace("benchmarks:\n- playground\n", f"suite: {written()}\n"))
    assert load(str(recipe)).suite.name == "own"
    assert load(str(recipe), [Setting.parse("benchmarks=[playground]")]).suite is None


def test_both_are_refused(written, tmp_path, refused):
    both = [Setting.parse(f"suite={written()}"), Setting.parse("benchmarks=[playground]")]
    assert (
        refused(load, str(tiny_recipe(tmp_path)), both)
        == "give either benchmarks or a suite (docs/recipes.md lists the settings)"
    )


def test_the_jobs_do_not_depend_on_who_names_them(written, tmp_path):
    """A suite over the same benchmarks finds their jobs done."""
    names = "[playground:playground_chat, playground:playground_code]"
    by_suite, by_name = planned(tmp_path, f"suite={written()}"), planned(tmp_path, f"benchmarks={names}")
    assert by_suite.jobs.keys() == by_name.jobs.keys()


def test_a_suites_options_hold_until_the_recipe_says_otherwise(written, tmp_path):
    suite = written(f"{OWN}options: {{playground: {{chat: 7, code: 9}}}}\n")
    assert planned(tmp_path, f"suite={suite}").recipe.options["playground"]["chat"] == 40  # the tiny recipe's own
    recipe = load(None, [Setting.parse(f"suite={suite}"), Setting.parse("playground.code=11")])
    assert recipe.options["playground"] == {"chat": 7, "code": 11}


def test_rows_hold_the_suite_without_its_summary(written, tmp_path):
    plan = planned(tmp_path, f"suite={written()}")
    shared = _shared(plan, next(iter(plan.jobs)))
    assert shared["suite"]["version"] == 1
    assert "summary" not in shared["suite"]
    assert (_suite(plan).name, _suite(plan).version) == ("own", 1)


def test_what_waits_for_its_judge_is_left_out_and_still_of_the_suite(written, tmp_path):
    suite = written(OWN.replace("playground:playground_code", "mt_bench:mt_bench"))
    plan = planned(tmp_path, f"suite={suite}", "judge=later")
    assert list(plan.arms[0].seeds[0].evaluations) == ["playground_chat"]
    assert _suite(plan).left_out == {"mt_bench": ("official-1", "rating")}


def test_without_a_suite_the_recipe_is_as_it_was(tmp_path):
    plan = planned(tmp_path)
    assert "suite" not in _shared(plan, next(iter(plan.jobs)))
    assert (_suite(plan).name, _suite(plan).version) == ("tiny", None)
