"""What each shipped method plans, against its definition, and the kit's check of every shipped plug-in."""

from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest

from harness.api import DataInfo, Derived, Mixture, Part, Stage
from harness.arms import bind
from harness.armspec import ArmSpec
from harness.discovery import installed
from harness.errors import UserError
from harness.testing import check_plugin

DATA = {
    "code": DataInfo("code", "specialist", 20_022),
    "chats": DataInfo("chats", "general", 90_000),
    "maths": DataInfo("maths", "specialist", 110_142),
    "notes": DataInfo("notes", "background", 10),
}
ASKED = {
    **DATA,
    "lessons": DataInfo("lessons", "curated", 1_600),
    "sums": DataInfo("sums", "narrow", 50_000),
    "web": DataInfo("web", "broad", None),
    "books": DataInfo("books", "pretraining", 5_000),
}
"""Data in every role that a shipped method asks for."""


def stages(name, data=DATA, **options):
    return list(bind(ArmSpec((name,), {name: options} if options else {})).stages(data))


@pytest.mark.parametrize("name", installed())
def test_shipped_plugins_pass_the_kits_check(name):
    check_plugin(name, ASKED)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("base", []),
        ("sft", [Stage("all", Mixture.of("code", "chats", "maths", "notes"))]),
        ("im", [Stage("all", Mixture.of("code", "chats", "maths", "notes"))]),
        ("multi_task", [Stage("all", Mixture.of("code", "chats", "maths"))]),
        (
            "sequential",
            [
                Stage("code", Mixture.of("code")),
                Stage("maths", Mixture.of("maths")),
                Stage("general", Mixture.of("chats")),
            ],
        ),
        (
            "mixed_sequential",
            [Stage("specialist", Mixture.of("code", "maths")), Stage("general", Mixture.of("chats"))],
        ),
    ],
)
def test_stages(name, expected):
    assert stages(name) == expected


@pytest.mark.parametrize(
    ("source", "names"), [("general", ["chats"]), ("specialist", ["code", "maths"]), ("maths", ["maths"])]
)
def test_single_takes_a_role_or_a_dataset(source, names):
    assert stages("single", source=source) == [Stage("all", Mixture.of(*names))]


def test_single_without_its_source():
    with pytest.raises(UserError, match=r"neither a role nor a dataset 'maths-only' .* one of specialist, general"):
        stages("single", source="maths-only")


def test_sequential_in_an_order_of_its_own():
    assert stages("sequential", order=["maths", "code"]) == [
        Stage("maths", Mixture.of("maths")),
        Stage("code", Mixture.of("code")),
        Stage("general", Mixture.of("chats")),
    ]
    with pytest.raises(UserError, match="the specialised datasets are code, maths"):
        stages("sequential", order=["maths"])


def test_early_stopping_wraps_every_stage():
    how = {"held_out": "1/10", "evaluations": 4, "patience": 1}
    bound = bind(ArmSpec(("early_stopping", "dmt"), {"early_stopping": {"held_out": "1/10", "patience": 1}}))
    assert list(bound.stages(DATA)) == [replace(stage, train={"early_stopping": how}) for stage in stages("dmt")]


@pytest.mark.parametrize("ratio", [Fraction(1), Fraction(1, 4)])
def test_replay_adds_texts_to_every_stage_alike_from_each_set(ratio):
    data = {**DATA, **{name: DataInfo(name, "pretraining", None) for name in ("web", "books")}}
    bound = bind(ArmSpec(("replay", "dmt"), {"replay": {"ratio": str(ratio)}}))
    texts = tuple(Derived(name, op="beside", fraction=ratio / 2) for name in ("web", "books"))
    assert list(bound.stages(data)) == [
        replace(stage, mixture=Mixture((*stage.mixture.items, *texts))) for stage in stages("dmt")
    ]


def test_replay_of_nothing_and_from_nothing():
    bound = bind(ArmSpec(("replay",), {"replay": {"ratio": 0}}))
    assert list(bound.stages({**DATA, "web": DataInfo("web", "pretraining", 9)})) == stages("sft")
    with pytest.raises(UserError, match="needs data in the role 'pretraining', and the recipe gives it to none"):
        bound.stages(DATA)


def test_no_method_trains_on_pretraining_text_unasked():
    data = {**DATA, "web": DataInfo("web", "pretraining", 1_000)}
    for name in ("sft", "multi_task", "sequential", "mixed_sequential", "dmt"):
        assert stages(name, data) == stages(name)


@pytest.mark.parametrize("k", [Fraction(1, 256), Fraction(1), Fraction(1, 3)])
def test_dmt_replays_a_share_of_each_specialised_set(k):
    assert stages("dmt", k=str(k)) == [
        Stage("specialist", Mixture.of("code", "maths")),
        Stage("general", Mixture.of("chats", Derived("code", fraction=k), Derived("maths", fraction=k))),
    ]


def test_dmt_without_k_takes_the_papers_smallest():
    assert stages("dmt") == stages("dmt", k="1/256")


def test_dmt_without_replay():
    assert stages("dmt", k=0) == stages("mixed_sequential")


@pytest.mark.parametrize(
    ("options", "mixture"),
    [
        ({"quantity": 0}, ["lessons"]),
        ({"quantity": 50_000}, ["lessons", Derived("sums", amount=50_000)]),
        ({"quantity": 50_000, "diversity": 1}, ["lessons", Derived("web", amount=50_000)]),
        ({"quantity": 1_000_000, "diversity": 1}, ["lessons", Derived("web", amount=1_000_000)]),
        ({"quantity": 10, "diversity": "1/3"}, ["lessons", Derived("sums", amount=7), Derived("web", amount=3)]),
        ({"quantity": 1, "quality": "1/2"}, [Derived("lessons", fraction=Fraction(1, 2)), Derived("sums", amount=1)]),
        ({"quantity": 1, "quality": 0}, [Derived("sums", amount=1)]),
    ],
)
def test_muinstructs_mixes_and_each_dimension_by_itself(options, mixture):
    assert stages("muinstruct", ASKED, **options) == [Stage("mix", Mixture.of(*mixture))]


def test_muinstruct_takes_one_dataset_of_a_kind(refused):
    two = {**ASKED, "more": DataInfo("more", "narrow", 3)}
    assert refused(stages, "muinstruct", two, quantity=3).startswith("the role 'narrow' has 2 datasets")


@pytest.mark.parametrize("name", ["dmt", "multi_task", "mixed_sequential", "sequential"])
@pytest.mark.parametrize("role", ["specialist", "general"])
def test_a_role_that_no_data_holds(refused, name, role):
    data = {name: info for name, info in DATA.items() if info.role != role}
    assert refused(stages, name, data) == (
        f"the strategy needs data in the role {role!r}, and the recipe gives it to none "
        f"(add `data: {{{role}: [...]}}` to the recipe, or --set data.{role}=SOURCE)"
    )


# --- losses --------------------------------------------------------------------------------------------------------

T, P, R, D = Part.TEMPLATE, Part.PROMPT, Part.RESPONSE, Part.PAD
ONE = [T, T, P, P, T, R, R]
TWO = [T, P, T, R, T, P, T, R, D]


@pytest.mark.parametrize(
    ("name", "options", "one", "two"),
    [
        ("sft", {}, [0, 0, 0, 0, 0, 1, 1], [0, 0, 0, 1, 0, 0, 0, 1, 0]),
        ("im", {}, [0, 0, 1, 1, 0, 1, 1], [0, 1, 0, 1, 0, 1, 0, 1, 0]),
        ("im", {"prompt_weight": "1/4"}, [0, 0, 0.25, 0.25, 0, 1, 1], [0, 0.25, 0, 1, 0, 0.25, 0, 1, 0]),
        ("im", {"prompt_weight": 0}, [0, 0, 0, 0, 0, 1, 1], [0, 0, 0, 1, 0, 0, 0, 1, 0]),
        ("im", {"variant": "released"}, [0, 0, 1, 1, 1, 1, 1], [0, 1, 1, 1, 1, 1, 1, 1, 0]),
    ],
)
def test_weights_of_packed_conversations(name, options, one, two):
    from harness.train.microbatch import MicroBatch

    loss = bind(ArmSpec((name,), {name: options} if options else {})).loss()
    for parts, expected in (([ONE], one), ([TWO], two), ([ONE, TWO], one + two), ([TWO, ONE], two + one)):
        rows = [np.array(row, np.uint8) for row in parts]
        batch = MicroBatch.of([np.zeros(len(row), np.int32) for row in rows], rows)
        assert loss.weights(batch)[0].tolist() == expected
