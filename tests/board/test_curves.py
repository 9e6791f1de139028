"""The lines through the arms of a board on which one number changes."""

from fractions import Fraction

from hypothesis import given
from hypothesis import strategies as st

from harness.armspec import ArmSpec
from harness.board.curves import curves


def swept(methods=("dmt",), matched="", **values):
    own = {name.replace("_", "."): value for name, value in values.items()}
    return ArmSpec(methods, own=own, swept=tuple(own), matched=matched).id


def test_points_stand_in_the_order_of_their_numbers():
    arms = ["sft", *(swept(dmt_k=k) for k in ("1/4", "0/1", "1/256", "1/1", "1/16"))]
    (curve,) = curves(arms)
    assert (curve.setting, curve.rest) == ("dmt.k", "dmt")
    assert [point.value for point in curve.points] == ["0", "1/256", "1/16", "1/4", "1"]
    assert [arms[point.place] for point in curve.points][1] == "dmt@dmt.k=1/256"
    assert curve.points[2].number == Fraction(1, 16)


def test_every_line_through_a_grid_is_a_curve():
    arms = [swept(dmt_k=k, train_lr=lr) for k in ("0/1", "1/4") for lr in (1e-3, 2e-3)]
    assert [(curve.setting, curve.rest) for curve in curves(arms)] == [
        ("dmt.k", "dmt@train.lr=0.001"),
        ("train.lr", "dmt@dmt.k=0"),
        ("dmt.k", "dmt@train.lr=0.002"),
        ("train.lr", "dmt@dmt.k=1/4"),
    ]


def test_what_is_no_number_and_what_is_alone_is_no_curve():
    assert curves([swept(im_variant=variant) for variant in ("paper", "released")]) == []
    assert curves([swept(im_flag=flag) for flag in (True, False)]) == []
    assert curves([swept(dmt_k="1/4"), "sft", "org/model@main", "org/model@a=b"]) == []


def test_seeds_of_one_value_are_no_curve_and_two_points_of_one():
    assert curves(["dmt@dmt.k=1/4", "dmt@dmt.k=1/4"]) == []
    (curve,) = curves(["dmt@dmt.k=1/4", "dmt@dmt.k=1/2", "dmt@dmt.k=1/4"])
    assert [point.place for point in curve.points] == [0, 2, 1]


def test_values_with_commas_stay_whole():
    arms = [swept(data_general="dolly_3k,./mine.jsonl", dmt_k=k) for k in ("1/4", "1/2")]
    (curve,) = curves(arms)
    assert curve.rest == "dmt@data.general=dolly_3k,./mine.jsonl"


def test_a_baseline_with_the_budget_of_a_swept_arm_lies_on_no_curve_of_its_own_settings():
    arms = [swept(("sft",), matched=f"dmt@dmt.k={k}") for k in ("1/4", "1/2")]
    assert arms[0] == "sft~dmt@dmt.k=1/4"
    assert curves(arms) == []


@given(st.lists(st.fractions(min_value=0, max_value=1), min_size=2, max_size=8, unique=True))
def test_a_sweep_of_any_numbers_is_one_curve_through_all_its_arms(numbers):
    arms = [swept(dmt_k=f"{number.numerator}/{number.denominator}") for number in numbers]
    (curve,) = curves(arms)
    assert [point.number for point in curve.points] == sorted(numbers)
    assert sorted(point.place for point in curve.points) == list(range(len(arms)))
