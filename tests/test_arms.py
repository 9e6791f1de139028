"""Composition: what an arm is called, who makes its values, and every combination that is refused."""

from fractions import Fraction

import pytest

from harness.api import Arm, DataInfo, Options, Stage
from harness.arms import bind, validated
from harness.armsettings import arm_spec
from harness.armspec import ArmSpec
from harness.discovery import load_plugin
from harness.planner import choose_arms
from harness.recipe import load
from harness.settings import Setting

HEAD = """
from dataclasses import replace
from harness.api import (
    Arm, Average, DataInfo, DataSource, Evaluator, Files, KeepLast, LmEvalTask, Loss, Mixture, Options, Part, Plugin,
    Stage, UserError, hookimpl, token_loss,
)
PLUGIN = Plugin(name="{name}", version="1.0")
"""

INFOS = {
    "chats": DataInfo("chats", "general", 100),
    "maths": DataInfo("maths", "specialist", 50),
    "code": DataInfo("code", "specialist", None),
}


@pytest.fixture
def plugin(tmp_path, distribution):
    """Writes a plug-in file; returns its path."""
    distribution("none", {})

    def write(name, body, folder="."):
        path = tmp_path / folder / f"{name}.py"
        path.parent.mkdir(exist_ok=True)
        path.write_text(HEAD.format(name=name) + body)
        return str(path)

    return write


@pytest.fixture(scope="module")
def recipe():
    return load("gsm8k-mini", [Setting.parse("options={}")])


def ids(recipe, *texts, settings=(), **named):
    parsed = [Setting.parse(text) for text in settings]
    return [spec.id for spec in choose_arms(recipe, texts, parsed, **{"baseline": True, "factorial": False, **named})]


# --- names ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", ["im,dmt", "dmt,im", " dmt , im ", "im,dmt,im", "sft,im,dmt"])
def test_an_arm_is_called_by_its_sorted_names(recipe, text):
    assert arm_spec(text, recipe).id == "dmt+im"


@pytest.mark.parametrize(
    ("text", "settings", "expected"),
    [
        ("sft", [], "sft"),
        ("base", [], "base"),
        ("im,dmt:k=1/4", [], "dmt+im@dmt.k=1/4"),
        ("im,dmt:k=0.25", [], "dmt+im@dmt.k=1/4"),
        ("im:variant=released,dmt:k=0", [], "dmt+im@dmt.k=0,im.variant=released"),
        ("dmt:k=1/256", [], "dmt"),
        ("im,dmt", ["dmt+im:train.lr=1e-4"], "dmt+im@train.lr=0.0001"),
        ("im,dmt", ["im,dmt:train.lr=1e-4"], "dmt+im@train.lr=0.0001"),
        ("im,dmt", ["dmt+im:dmt.k=1/8"], "dmt+im@dmt.k=1/8"),
        ("im,dmt", ["dmt:train.lr=1e-4"], "dmt+im"),
        ("dmt", ["dmt:train.lr=2e-3"], "dmt"),
    ],
)
def test_what_is_set_for_an_arm_alone_is_in_its_name(recipe, text, settings, expected):
    assert arm_spec(text, recipe, [Setting.parse(s) for s in settings]).id == expected


def test_what_is_set_for_an_arm_alone_reaches_it_alone(recipe):
    settings = [Setting.parse("dmt+im:train.lr=1e-4"), Setting.parse("dmt:dmt.k=1/2")]
    both, dmt = (arm_spec(text, recipe, settings) for text in ("im,dmt", "dmt"))
    assert (both.train, dmt.train) == ({"lr": 1e-4}, {})
    assert (both.options, dmt.options) == ({}, {"dmt": {"k": "1/2"}})


def test_the_recipes_options_reach_every_arm():
    shared = load("gsm8k-mini", [Setting.parse("dmt.k=1/8")])
    spec = arm_spec("dmt", shared)
    assert spec.id == "dmt"
    assert bind(spec).options_of(load_plugin("dmt")) == {"k": "1/8"}
    assert arm_spec("dmt:k=1/8", shared).id == "dmt"
    assert arm_spec("dmt:k=1/256", shared).id == "dmt@dmt.k=1/256"


def test_an_arm_survives_json(recipe):
    spec = arm_spec("im,dmt:k=1/4", recipe, [Setting.parse("dmt+im:train.lr=1e-4")])
    assert ArmSpec.from_json(spec.to_json()) == spec


# --- which arms ----------------------------------------------------------------------------------------------------


def test_the_baseline_is_added_once(recipe):
    assert ids(recipe) == ["sft"]
    assert ids(recipe, "im,dmt") == ["sft", "dmt+im"]
    assert ids(recipe, "sft", "im") == ["sft", "im"]
    assert ids(recipe, "im", "im") == ["sft", "im"]
    assert ids(recipe, "im", "dmt:k=1/4", "dmt:k=1/4", "dmt:k=0.25") == ["sft", "im", "dmt@dmt.k=1/4"]


def test_no_baseline(recipe):
    assert ids(recipe, "im", baseline=False) == ["im"]


def test_factorial_adds_the_parts_before_the_whole(recipe):
    assert ids(recipe, "base", "im,dmt", factorial=True) == ["sft", "base", "im", "dmt", "dmt+im"]
    assert ids(recipe, "im,dmt:k=1/4", factorial=True) == ["sft", "im", "dmt@dmt.k=1/4", "dmt+im@dmt.k=1/4"]


def test_a_run_without_arms(recipe, refused):
    assert refused(ids, recipe, baseline=False) == (
        "the run has no arm (name one with --plugins, or leave --no-baseline away)"
    )
    assert refused(ids, recipe, " , ") == "--plugins names no plug-in (write --plugins im,dmt)"


def test_settings_of_an_arm_that_is_not_there(recipe, refused):
    assert refused(ids, recipe, "im", "dmt", settings=["imm:train.lr=1"]) == (
        "--set imm:... names no arm of this run (did you mean 'im'?)"
    )


CAN = "(what can: train.<setting>, data.<role>, and options of im)"


@pytest.mark.parametrize(
    ("setting", "expected"),
    [
        *(
            (f"im:{name}={value}", f"'{name}' cannot be set for im alone {CAN}")
            for name, value in (("dmt.k", "1/4"), ("limit", "3"), ("playground.code", "3"))
        ),
        ("im:train.lrr=1", "im: there is no setting 'train.lrr' (did you mean 'train.lr'?)"),
        ("im:train.lr=-1", "im: train.lr = -1 will not do: it must be more than 0 (the default is 2e-05)"),
        ("im:im.weight=1", "there is no setting 'im.weight' (did you mean 'im.prompt_weight'?)"),
    ],
)
def test_what_cannot_be_set_for_one_arm(recipe, refused, setting, expected):
    assert refused(ids, recipe, "im", settings=[setting]) == expected


def test_two_arms_of_one_name(recipe, refused, plugin):
    own = plugin("im", "@hookimpl\ndef strategy(arm, data):\n    return []\n")
    assert refused(ids, recipe, "im", own) == (
        "two different arms are called 'im' (give the plug-in file another PLUGIN.name)"
    )


@pytest.mark.parametrize(
    ("text", "offers"),
    [
        ("gsm8k", "data and benchmarks (--set data.ROLE=gsm8k or --set benchmarks=[gsm8k])"),
        ("im,dolly_3k", "data (--set data.ROLE=dolly_3k)"),
    ],
)
def test_an_arm_is_of_methods(recipe, refused, text, offers):
    name = text.rpartition(",")[2]
    assert refused(ids, recipe, text) == f"{name!r} changes nothing in an arm: it offers {offers}"


def test_a_plugin_without_a_hook_is_no_arm(recipe, refused, plugin):
    assert refused(ids, recipe, plugin("empty", "")) == (
        "'empty' changes nothing in an arm: it offers nothing (implement loss_fn, strategy or merger)"
    )


def test_an_option_that_no_arm_reads_is_refused(refused):
    def chosen(*texts):
        return ids(load("gsm8k-mini", [Setting.parse("dmt.k=1/4")], texts), *texts, settings=["dmt.k=1/4"])

    assert refused(chosen, "im") == (
        "--set dmt.k changes nothing: 'dmt' takes no part in this run "
        "(name it, --plugins dmt, or leave the setting away)"
    )
    assert chosen("im", "dmt") == ["sft", "im", "dmt"]


def test_a_file_called_like_the_baseline(recipe, refused, plugin):
    assert refused(ids, recipe, plugin("sft", "")) == (
        "two different arms are called 'sft' (give the plug-in file another PLUGIN.name)"
    )


# --- options -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "values", "expected"),
    [
        ("dmt", {"kk": 1}, "there is no setting 'dmt.kk' (did you mean 'dmt.k'?)"),
        ("dmt", {"k": 2}, "dmt.k = 2 will not do: it must be at most 1 (see `harness plugins dmt`)"),
        ("dmt", {"k": "1/0"}, ("dmt.k = 1/0 will not do: '1/0' is not a fraction such as 1/256, 0.25 or 1 "
         "(see `harness plugins dmt`)")),
        ("dmt", {"k": True}, ("dmt.k = True will not do: a fraction such as 1/256, 0.25 or 1 is wanted "
         "(see `harness plugins dmt`)")),
        ("im", {"variant": "both"}, ("im.variant = both will not do: it must be 'paper' or 'released' "
         "(see `harness plugins im`)")),
        ("sft", {"lr": 1}, "there is no setting 'sft.lr' (sft has no settings)"),
    ],
)  # fmt: skip
def test_wrong_options(refused, name, values, expected):
    assert refused(validated, load_plugin(name).plugin, values) == expected


def test_options_that_contradict_each_other(refused):
    message = refused(validated, load_plugin("im").plugin, {"variant": "released", "prompt_weight": "1/2"})
    assert "prompt_weight belongs to the paper's variant" in message


def test_options_of_a_plugin_from_a_file(plugin):
    own = plugin(
        "own",
        """
class OwnOptions(Options):
    \"\"\"Own.\"\"\"
    n: int = 1
    \"\"\"A number.\"\"\"
PLUGIN = Plugin(name="own", version="1.0", options=OwnOptions)
@hookimpl
def strategy(arm, data):
    return [Stage(str(arm.options(OwnOptions).n), Mixture.of(*data))]
""",
    )
    shared = load("gsm8k-mini", [Setting.parse("own.n=2")], [own])
    assert [s.name for s in bind(arm_spec(own, shared)).stages(INFOS)] == ["2"]
    mine = arm_spec(f"{own}:n=3", shared)
    assert mine.id == "own@own.n=3"
    assert [s.name for s in bind(mine).stages(INFOS)] == ["3"]


def test_options_default_where_nothing_is_set():
    class Own(Options):
        n: int = 7

    assert Arm("x", ("x",)).options(Own).n == 7


# --- providers -----------------------------------------------------------------------------------------------------


def test_two_providers_of_one_slot(refused):
    assert refused(bind, ArmSpec(("dmt", "multi_task"))) == (
        "'dmt' and 'multi_task' both provide strategy, and an arm has one "
        "(compare them as two arms: --plugins dmt --plugins multi_task)"
    )


def test_sft_completes_every_arm():
    bound = bind(ArmSpec(("im",)))
    assert [stage.name for stage in bound.stages(INFOS)] == ["all"]
    assert [maker["plugin"].split()[0] for maker in bound.makers("loss_fn")] == ["im"]
    assert [maker["plugin"].split()[0] for maker in bound.makers("strategy")] == ["sft"]
    assert [p.plugin.name for p in bound.methods()] == ["im"]


def test_order_does_not_matter(plugin):
    body = "@hookimpl(wrapper=True)\ndef strategy(arm, data):\n    return [*(yield), Stage('{}', Mixture.of(*data))]\n"
    wraps = [plugin(name, body.format(name)) for name in ("alpha", "zeta")]
    one, other = (bind(ArmSpec(tuple(order))) for order in ([*wraps, "dmt"], ["dmt", *reversed(wraps)]))
    assert one.stages(INFOS) == other.stages(INFOS)
    assert [s.name for s in one.stages(INFOS)][:2] == ["specialist", "general"]
    assert one.makers("strategy") == other.makers("strategy")
    assert [maker["plugin"].split()[0] for maker in one.makers("strategy")] == ["dmt", "alpha", "zeta"]


def test_a_wrapper_stands_around_the_provider(plugin):
    wrapper = plugin(
        "doubled",
        """
@hookimpl(wrapper=True)
def loss_fn(arm):
    inner = yield
    return replace(inner, weights=lambda batch: 2 * inner.weights(batch))
""",
    )

    class Ones:
        def is_part(self, *parts):
            return len(parts)

    for methods, expected in ((("im",), 2), (("im", wrapper), 4), ((wrapper,), 2)):
        assert bind(ArmSpec(methods)).loss().weights(Ones()) == expected


def test_any_fallback_comes_before_ours_whatever_its_name(plugin):
    body = "@hookimpl(trylast=True)\ndef merger(arm, stages):\n    return Average(tuple(s.name for s in stages))\n"
    for name in ("aaa", "zzz"):
        bound = bind(ArmSpec((plugin(name, body),)))
        assert [maker["plugin"].split()[0] for maker in bound.makers("merger")] == [name]
        assert bound.merger([Stage("a", None)]).stages == ("a",)


def test_two_fallbacks_of_one_slot(plugin, refused):
    body = "@hookimpl(trylast=True)\ndef merger(arm, stages):\n    return KeepLast()\n"
    assert refused(bind, ArmSpec((plugin("aaa", body), plugin("zzz", body)))) == (
        "'aaa' and 'zzz' both provide merger, and an arm has one "
        "(compare them as two arms: --plugins aaa --plugins zzz)"
    )


def test_an_outright_provider_replaces_a_fallback(plugin):
    fallback = plugin("aaa", "@hookimpl(trylast=True)\ndef strategy(arm, data):\n    return None\n")
    bound = bind(ArmSpec((fallback, "dmt")))
    assert [stage.name for stage in bound.stages(INFOS)] == ["specialist", "general"]


def test_a_data_source_or_benchmark_lends_no_method():
    # The recipe names it for its data; its loss must not slip into the baseline.
    assert [maker["plugin"].split()[0] for maker in bind(ArmSpec(("sft",)), ["im"]).makers("loss_fn")] == ["sft"]
    bind(ArmSpec(("dmt",)), ["multi_task"])


RETURNS = {
    "loss_fn": ("def loss_fn(arm)", lambda bound: bound.loss()),
    "strategy": ("def strategy(arm, data)", lambda bound: bound.stages(INFOS)),
    "merger": ("def merger(arm, stages)", lambda bound: bound.merger([])),
    "data_source": ("def data_source(arm)", lambda bound: bound.sources()),
    "evaluator": ("def evaluator(arm)", lambda bound: bound.evaluators()),
}


@pytest.mark.parametrize(("signature", "call"), RETURNS.values(), ids=RETURNS)
def test_none_is_never_a_value(plugin, refused, signature, call):
    hook = signature.split()[1].split("(")[0]
    bound = bind(ArmSpec((plugin("own", f"@hookimpl\n{signature}:\n    return None\n"),)))
    assert refused(call, bound) == (
        f"the plug-in 'own' returned None from {hook} (return a value, or do not implement {hook})"
    )


@pytest.mark.parametrize(("signature", "call"), RETURNS.values(), ids=RETURNS)
def test_what_a_hook_raises_is_its_plugins(plugin, refused, signature, call):
    hook = signature.split()[1].split("(")[0]
    bound = bind(ArmSpec((plugin("own", f"@hookimpl\n{signature}:\n    return 1 / 0\n"),)))
    assert refused(call, bound) == (
        f"the plug-in 'own' fails in {hook}: ZeroDivisionError: division by zero (mend it; --debug shows where)"
    )


def test_what_a_hook_says_in_words_stands(plugin, refused):
    own = plugin("own", "@hookimpl\ndef strategy(arm, data):\n    raise UserError('no data', 'add some')\n")
    assert refused(bind(ArmSpec((own,))).stages, INFOS) == "no data (add some)"


def test_a_wrong_type_is_no_value(plugin, refused):
    own = plugin("own", "@hookimpl\ndef loss_fn(arm):\n    return 3\n")
    assert refused(bind(ArmSpec((own,))).loss) == (
        "the plug-in 'own' returned int from loss_fn, and Loss is wanted (see the docstring of harness.spec.loss_fn)"
    )


@pytest.mark.parametrize(
    ("stages", "expected"),
    [
        ("[Stage('a', Mixture.of('maths')), Stage('a', Mixture.of('maths'))]",
         "own has two stages called 'a' (give every stage its own name)"),
        ("[Stage('one', Mixture.of('maths')), Stage('two', Mixture.of('maths'), start='on')]",
         "stage 'two' of own starts from 'on', which is no earlier stage (did you mean 'one'?)"),
        ("[Stage('one', Mixture.of('maths'), start='one')]",
         "stage 'one' of own starts from 'one', which is no earlier stage (there are: base, previous)"),
        ("[Stage('base', Mixture.of('maths'))]", ("own has a stage called 'base', which is what stages start "
         "from (rename the stage, or the dataset that it is called after)")),
        ("[Stage('previous', Mixture.of('maths'))]", ("own has a stage called 'previous', which is what stages "
         "start from (rename the stage, or the dataset that it is called after)")),
    ],
)  # fmt: skip
def test_stages_are_checked(plugin, refused, stages, expected):
    own = plugin("own", f"@hookimpl\ndef strategy(arm, data):\n    return {stages}\n")
    assert refused(bind(ArmSpec((own,))).stages, INFOS) == expected


# --- data and benchmarks -------------------------------------------------------------------------------------------


SHARING = 'PLUGIN = Plugin(name="own", version="1.0", options=DmtOptions)\n'


def test_two_datasets_of_one_name(plugin, refused):
    body = "@hookimpl\ndef data_source(arm):\n    return {'gsm8k': DataSource(Files(('x.jsonl',)))}\n"
    own = plugin("own", body)
    assert refused(bind(ArmSpec(("sft",)), ["gsm8k", own]).sources) == (
        f"the dataset 'gsm8k' is offered by 'gsm8k' (instruct-harness) and 'own' ({own}) "
        "(name only one of the two plug-ins in a run)"
    )


def test_two_benchmarks_of_one_name(plugin, refused):
    body = """
@hookimpl
def evaluator(arm):
    return [Evaluator("gsm8k", "strict-1", LmEvalTask("gsm8k_chat", "exact_match"))]
"""
    own = plugin("own", body)
    assert refused(bind(ArmSpec(("sft",)), ["gsm8k", own]).evaluators) == (
        f"the benchmark 'gsm8k' is offered by 'gsm8k' (instruct-harness) and 'own' ({own}) "
        "(name only one of the two plug-ins in a run)"
    )


def test_two_plugins_that_share_an_options_class(plugin, refused):
    """Or the one would silently be given what was set for the other."""
    own = plugin("own", "from harness.plugins.dmt import DmtOptions\n" + SHARING)
    assert refused(bind, ArmSpec(("dmt", own), {"dmt": {"k": "1/2"}})) == (
        "the plug-in 'own' shares its options class with another of this arm "
        "(give it a class of its own, if only a subclass of DmtOptions)"
    )


def test_two_plugins_of_one_name(plugin, refused):
    own = plugin("gsm8k", "")
    assert refused(bind, ArmSpec((own,)), ["gsm8k"]) == (
        f"{own} and instruct-harness both bring a plug-in called 'gsm8k' (give the one from a file another PLUGIN.name)"
    )


def test_shares_are_exact():
    assert bind(ArmSpec(("dmt",), {"dmt": {"k": "1/3"}})).arm.settings
    options = validated(load_plugin("dmt").plugin, {"k": "1/3"})
    assert options.k == Fraction(1, 3)
    assert options.model_dump(mode="json") == {"k": "1/3"}


EVALUATORS = 'a list of Evaluator is wanted (return [Evaluator("name", "strict-1", task=LmEvalTask(...))])'
SOURCES = 'a mapping of names to DataSource is wanted (return {"name": DataSource(...)})'


@pytest.mark.parametrize(
    ("hook", "value", "expected"),
    [
        ("evaluator", "[LmEvalTask('own', metric='acc')]", f"returned LmEvalTask, and {EVALUATORS}"),
        ("evaluator", "LmEvalTask('own', metric='acc')", f"returned LmEvalTask, and {EVALUATORS}"),
        ("data_source", "{'own': Files(('rows.jsonl',))}", f"returned Files, and {SOURCES}"),
        ("data_source", "DataSource(Files(('rows.jsonl',)))", f"returned DataSource, and {SOURCES}"),
    ],
)
def test_what_is_offered_must_be_of_its_kind(plugin, refused, hook, value, expected):
    bound = bind(ArmSpec((plugin("own", f"@hookimpl\ndef {hook}(arm):\n    return {value}\n"),)))
    collect = bound.evaluators if hook == "evaluator" else bound.sources
    assert refused(collect) == f"{hook} of 'own' {expected}"
