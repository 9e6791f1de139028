"""Wrappers around strategies: what each does holds for all that the others add, whatever they are called."""

from collections.abc import Iterator

import pytest

from harness.api import Curated, Data, DataInfo, Derived
from harness.arms import ArmSpec, bind
from harness.discovery import installed, load_plugin

ROLES = {
    "maths": "specialist",
    "chats": "general",
    "lessons": "curated",
    "sums": "narrow",
    "pages": "broad",
    "web": "pretraining",
}
DATA = {name: DataInfo(name, role, 60_000) for name, role in ROLES.items()}
CHOSEN = {"instag": {"role": ""}, "single": {"source": "general"}}
"""Options without which these do not take all data, or any."""
SELECTIONS = ("alpagasus", "decontaminate", "deita", "demorecon", "instag", "length_ratio")
STRATEGIES = [name for name in installed() if "strategy" in load_plugin(name).slots]
LATE = """
from harness.api import Mixture, Plugin, Stage, hookimpl

PLUGIN = Plugin(name="{name}", version="1", summary="One more stage, on everything.")


@hookimpl(wrapper=True)
def strategy(arm, data):
    stages = yield
    return [*stages, Stage("more", Mixture.of(*data))]
"""


def stages(*methods, **options):
    return bind(ArmSpec(methods, {**{n: of for n, of in CHOSEN.items() if n in methods}, **options})).stages(DATA)


def leaves(data: Data, above: tuple[Data, ...] = ()) -> Iterator[tuple[str, tuple[Data, ...]]]:
    """The datasets that data is made of, each with all that is made of it, from the outside in."""
    if isinstance(data, str):
        yield data, above
        return
    for parent in data.parents if isinstance(data, Curated) else (data.parent,):
        yield from leaves(parent, (*above, data))


def raw(planned, selection, role=None):
    """Datasets that some stage uses without what the selection makes of them."""
    own = load_plugin(selection).module.__name__
    for stage in planned:
        for name, above in (found for item in stage.mixture.items for found in leaves(item)):
            curated = [node for node in above if isinstance(node, Curated)]
            meant = DATA[name].role == role if role else DATA[name].role != "pretraining"
            if meant and not any(type(node.curation).__module__.startswith(own) for node in curated):
                yield stage.name, name


def pairs(selections):
    """Every one of them with every other method that has a hand in the stages, once."""
    found = {tuple(sorted((one, other))) for one in selections for other in STRATEGIES if one != other}
    return sorted(pair for pair in found if pair != ("dtm", "self_refine"))


@pytest.mark.parametrize("pair", pairs(SELECTIONS), ids="+".join)
def test_no_stage_sees_what_a_selection_leaves_out(pair):
    planned = stages(*pair)
    for selection in set(pair) & set(SELECTIONS):
        assert list(raw(planned, selection)) == []


def test_replayed_text_is_cleaned_where_that_is_wanted():
    planned = stages("decontaminate", "replay", decontaminate={"role": "pretraining"})
    assert list(raw(planned, "decontaminate", "pretraining")) == []
    assert list(raw(planned, "decontaminate", "general")) != []


@pytest.mark.parametrize("pair", pairs(["early_stopping"]), ids="+".join)
def test_every_stage_is_stopped_early(pair):
    assert all("early_stopping" in stage.train for stage in stages(*pair))


@pytest.mark.parametrize("pair", pairs(["soup"]), ids="+".join)
def test_a_soups_examples_are_held_out_of_the_datasets_themselves(pair):
    for stage in stages(*pair):
        for name, above in (found for item in stage.mixture.items for found in leaves(item)):
            assert name == "web" or (isinstance(above[-1], Derived) and above[-1].op == "rest")


@pytest.mark.parametrize("name", ["aardvark", "zebra"])
def test_the_name_of_what_adds_data_is_of_no_account(name, tmp_path, distribution):
    distribution("none", {})
    path = tmp_path / f"{name}.py"
    path.write_text(LATE.format(name=name))
    planned = stages("decontaminate", "early_stopping", str(path))
    assert [stage.name for stage in planned] == ["all", "more"]
    assert list(raw(planned, "decontaminate")) == []
    assert all("early_stopping" in stage.train for stage in planned)


def test_variants_are_cleaned_like_the_data_that_they_are_made_of():
    (stage,) = stages("decontaminate", "demorecon")
    made = [
        [type(node.curation).__name__ for node in above] for item in stage.mixture.items for _, above in leaves(item)
    ]
    assert made == [["Clean", "Variants"]] * (len(DATA) - 1)
