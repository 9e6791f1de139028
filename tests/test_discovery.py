"""Every rule that a plug-in keeps, and the words in which a broken one is told."""

import importlib
import sys
import tomllib
from pathlib import Path

import pytest

from harness import discovery
from harness.discovery import HOOKS, SINGLE, installed, load_plugin, methods, offering, unknown_plugin, written_parts

HEAD = """
    from harness.api import Arm, DataInfo, DataSource, Evaluator, KeepLast, Loss, Merger, Plugin, Stage, hookimpl
    PLUGIN = Plugin(name="mine", version="1.0")
"""

PROJECT = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text(encoding="utf-8"))["project"]
BUILT_IN = tuple(sorted(PROJECT["entry-points"]["harness"]))


def test_the_hooks_are_five_and_three_of_them_take_one_provider():
    assert tuple(HOOKS) == ("data_source", "loss_fn", "strategy", "merger", "evaluator")
    assert SINGLE == ("loss_fn", "strategy", "merger")


def test_what_is_installed():
    assert installed() == BUILT_IN


@pytest.mark.parametrize("name", BUILT_IN)
def test_built_in_plugins_keep_the_rules(name):
    loaded = load_plugin(name)
    assert loaded.plugin.name == name
    assert loaded.distribution == "instruct-harness"
    assert loaded.path is None
    assert loaded.slots


def test_an_unknown_name_is_answered_with_the_nearest(refused):
    assert refused(load_plugin, "neftun") == "no plug-in is called 'neftun' (did you mean 'neftune'?)"
    assert refused(load_plugin, "zzzz") == "no plug-in is called 'zzzz' (harness plugins lists them)"
    assert refused(methods, "imm") == "no method is called 'imm' (did you mean 'im'?)"


def test_only_names_of_what_was_meant_are_listed(distribution):
    distribution("alpha", {"broken": "import nothing_of_that_name"})
    data, benchmarks, all_methods = map(offering, ("dataset", "benchmark", "method"))
    assert [("gsm8k" in found, "dmt" in found) for found in (data, benchmarks, all_methods)] == [
        (True, False),
        (True, False),
        (False, True),
    ]
    assert {*data, *benchmarks, *all_methods} == set(BUILT_IN)
    assert str(unknown_plugin("zzzz", "benchmark")) == (
        f"no benchmark is called 'zzzz' (there are: {', '.join(benchmarks)})"
    )


def test_a_name_that_two_distributions_claim(distribution, refused):
    distribution("alpha", {"mine": HEAD})
    distribution("beta", {"mine": HEAD})
    expected = "the plug-in name 'mine' is claimed by alpha and beta (uninstall one of them)"
    assert refused(load_plugin, "mine") == expected


def test_a_name_that_we_claim_too(distribution, refused):
    distribution("alpha", {"im": HEAD})
    expected = "the plug-in name 'im' is claimed by alpha and instruct-harness (uninstall one of them)"
    assert refused(load_plugin, "im") == expected


def test_one_distribution_seen_twice_on_the_path_is_one(distribution):
    site = distribution("alpha", {"mine": HEAD})
    sys.path.insert(0, str(site))
    try:
        assert load_plugin("mine").distribution == "alpha"
    finally:
        sys.path.remove(str(site))


def test_installing_activates_nothing(distribution):
    distribution("alpha", {"mine": "raise RuntimeError('imported')"})
    assert "mine" in installed()
    load_plugin("im")
    assert "alpha_mine" not in sys.modules


BROKEN = {
    "failing import": (
        "import no_such_library",
        (
            "the plug-in 'mine' of alpha does not import: ModuleNotFoundError: No module named 'no_such_library' "
            "(repair or uninstall alpha)"
        ),
    ),
    "syntax": (
        "def f(:",
        (
            "the plug-in 'mine' of alpha does not import: SyntaxError: invalid syntax (alpha_mine.py, line 1) "
            "(repair or uninstall alpha)"
        ),
    ),
    "no module": (
        None,
        (
            "the plug-in 'mine' of alpha does not import: ModuleNotFoundError: No module named 'alpha_mine' "
            "(repair or uninstall alpha)"
        ),
    ),
    "no PLUGIN": (
        "import harness.api",
        'the plug-in \'mine\' of alpha has no PLUGIN (add PLUGIN = Plugin(name="...", version="1.0"))',
    ),
    "a PLUGIN of another type": (
        "PLUGIN = 'mine'",
        'the plug-in \'mine\' of alpha has no PLUGIN (add PLUGIN = Plugin(name="...", version="1.0"))',
    ),
    "another API": (
        """
        from harness.api import Plugin
        PLUGIN = Plugin(name="mine", version="1.0", api=99)
        """,
        (
            "the plug-in 'mine' of alpha is written for harness.api 99, and this is 1 "
            "(install a release of it for this version of the harness)"
        ),
    ),
    "another name": (
        """
        from harness.api import Plugin
        PLUGIN = Plugin(name="yours", version="1.0")
        """,
        "the plug-in 'mine' of alpha calls itself 'yours' (its entry point and PLUGIN.name must agree)",
    ),
    "an option without a default": (
        """
        from harness.api import Options, Plugin
        class MineOptions(Options):
            size: int
        PLUGIN = Plugin(name="mine", version="1.0", options=MineOptions)
        """,
        "the plug-in 'mine' of alpha has an option without a default: size (give it one)",
    ),
    "an undecorated hook": (
        HEAD
        + """
    def loss_fn(arm): ...
""",
        "the plug-in 'mine' of alpha defines loss_fn without @hookimpl (put @hookimpl above def loss_fn)",
    ),
    "a misspelt hook": (
        HEAD
        + """
    @hookimpl
    def strategie(arm, data): ...
""",
        "the plug-in 'mine' of alpha implements 'strategie', which is no hook (did you mean 'strategy'?)",
    ),
    "another function name": (
        HEAD
        + """
    @hookimpl(specname="loss_fn")
    def my_loss(arm): ...
""",
        "the plug-in 'mine' of alpha implements loss_fn under the name my_loss (call the function loss_fn)",
    ),
    "a default": (
        HEAD
        + """
    @hookimpl
    def loss_fn(arm=None): ...
""",
        (
            "the plug-in 'mine' of alpha gives loss_fn's parameter 'arm' a default, so it is never passed "
            "(remove the default)"
        ),
    ),
    "a parameter too many": (
        HEAD
        + """
    @hookimpl
    def loss_fn(arm, model): ...
""",
        "the plug-in 'mine' of alpha asks loss_fn for 'model', which it does not get (its parameters are: arm)",
    ),
}


@pytest.mark.parametrize(("source", "expected"), BROKEN.values(), ids=BROKEN)
def test_a_broken_rule_is_told_with_the_distribution(distribution, refused, source, expected):
    distribution("alpha", {"mine": source})
    assert refused(load_plugin, "mine") == expected


def test_an_entry_point_that_names_no_module(distribution, refused):
    distribution("alpha", {"mine": HEAD}, modules={"mine": "alpha_mine:PLUGIN"})
    assert refused(load_plugin, "mine") == (
        "the plug-in 'mine' of alpha is no module (let its entry point name one: alpha_mine:PLUGIN)"
    )


def test_names_that_would_be_misread_are_refused(distribution, refused):
    distribution("alpha", {"a+b": HEAD.replace("mine", "a+b")}, modules={"a+b": "alpha_mine"})
    assert refused(load_plugin, "a+b") == (
        "the plug-in 'a+b' of alpha calls itself 'a+b' (use letters, digits, - and _, beginning with a letter)"
    )


def test_a_hook_may_ask_for_fewer_parameters(distribution):
    distribution("alpha", {"mine": HEAD + "    @hookimpl\n    def strategy(data): return []\n"})
    assert load_plugin("mine").slots == ("strategy",)


# --- files ---------------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("distribution")
def test_a_file_is_a_plugin(tmp_path, monkeypatch):
    (tmp_path / "own.py").write_text("from harness.api import Plugin\nPLUGIN = Plugin(name='own', version='0.1')\n")
    monkeypatch.chdir(tmp_path)
    loaded = load_plugin("./own.py")
    assert loaded.path == str(tmp_path / "own.py")
    assert loaded.editable
    assert loaded.provenance()["from_file"] is True
    assert load_plugin(str(tmp_path / "own.py")) is loaded


def test_a_file_that_is_not_there(tmp_path, refused):
    path = tmp_path / "own.py"
    assert refused(load_plugin, str(path)) == (
        f"there is no plug-in file {path} (give the path of a .py file, or an installed plug-in's name)"
    )


def test_a_file_that_fails(tmp_path, refused):
    path = tmp_path / "own.py"
    path.write_text("1 / 0")
    assert refused(load_plugin, str(path)) == (
        f"the plug-in file {path} does not import: ZeroDivisionError: division by zero (repair it)"
    )


# --- stamps --------------------------------------------------------------------------------------------------------


def test_an_installed_plugin_is_stamped_with_its_version_alone(distribution):
    distribution("alpha", {"mine": HEAD})
    assert load_plugin("mine").stamp() == "mine 1.0"


def test_an_editable_plugin_is_stamped_with_its_source(distribution):
    distribution("alpha", {"mine": HEAD}, direct_url='{"url": "file:///x", "dir_info": {"editable": true}}')
    loaded = load_plugin("mine")
    assert loaded.stamp() == f"mine 1.0 {loaded.digest}"


def test_editing_a_file_changes_its_stamp(tmp_path, distribution):
    path = tmp_path / "own.py"
    stamps = []
    for number in (1, 2):
        path.write_text(f"from harness.api import Plugin\nPLUGIN = Plugin(name='own', version='0.1')\nX = {number}\n")
        distribution(f"none{number}", {})  # forgets what was loaded
        stamps.append(load_plugin(str(path)).stamp())
    assert stamps[0] != stamps[1]


@pytest.mark.parametrize("plugin", ["wide_plugin", "wide_plugin.mine"])
def test_editing_any_file_of_a_package_changes_its_digest(tmp_path, monkeypatch, distribution, plugin):
    distribution("none", {})
    package = tmp_path / "wide_plugin"
    package.mkdir()
    (package / "__init__.py").write_text("from wide_plugin import helper\n")
    (package / "mine.py").write_text("from wide_plugin import helper\n")
    (package / "helper.py").write_text("X = 1\n")
    monkeypatch.syspath_prepend(tmp_path)
    module = importlib.import_module(plugin)
    before = discovery._source_digest(module)
    (package / "helper.py").write_text("X = 2\n")
    assert discovery._source_digest(module) != before


def test_a_file_of_the_working_folder_is_what_was_meant(tmp_path, monkeypatch, refused):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "half_prompt.py").write_text("")
    assert refused(load_plugin, "half_prompt") == (
        "no plug-in is called 'half_prompt' (did you mean ./half_prompt.py?)"
    )


def test_commas_within_an_option_part_no_plugins():
    assert written_parts("sequential:order=[code,maths], im,dmt:k={a: 1, b: [2,3]}") == [
        "sequential:order=[code,maths]",
        "im",
        "dmt:k={a: 1, b: [2,3]}",
    ]
