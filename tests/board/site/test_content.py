"""What the page is told."""

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.board.publish import write_run
from harness.board.site.content import Texts, model_name


@pytest.fixture
def told(arms, info, tmp_path, site):
    board = write_run(tmp_path, arms, info)
    return board, site(tmp_path).content["boards"][0]


def test_every_number_of_the_board_is_told_to_seven_decimals(told):
    board, content = told
    of = content["texts"].__getitem__
    assert [one["name"] for one in content["benchmarks"]] == ["arithmetic", "code", "chat"]
    assert [line["arm"] for line in content["lines"]] == [line.arm for line in board.lines]
    for line, short in zip(board.lines, content["lines"], strict=True):
        assert (short["rank"], short["row"], short["baseline"]) == (line.rank, line.row, line.baseline)
        assert (short["ranks"], short["group"]) == ([line.rank_low, line.rank_high], line.group)
        assert short["device_hours"] == pytest.approx(line.device_hours, abs=1e-7)
        cells = [line.composite, *(line.cells[one["name"]] for one in content["benchmarks"])]
        for cell, (score, interval, items, missing, comparison) in zip(
            cells, [short["composite"], *short["cells"]], strict=True
        ):
            assert score == pytest.approx(cell.score, abs=1e-7)
            assert interval[:2] == pytest.approx([cell.interval.low, cell.interval.high], abs=1e-7)
            assert of(interval[2]) == cell.interval.method
            assert (items, missing) == (cell.items, cell.n_missing)
            if cell.comparison is None:
                assert comparison is None
                continue
            mark, provisional, blocked, adjusted, equal, detectable, value, around, n, claim = comparison
            found = cell.comparison
            assert (mark, bool(provisional), of(blocked)) == (found.mark, found.provisional, found.blocked)
            assert adjusted == pytest.approx(found.adjusted_p, abs=1e-7)
            assert equal == pytest.approx(found.adjusted_equivalence_p, abs=1e-7)
            assert detectable == pytest.approx(found.detectable, abs=1e-7)
            assert value == pytest.approx(found.difference.value, abs=1e-7)
            assert around[:2] == pytest.approx(
                [found.difference.interval.low, found.difference.interval.high], abs=1e-7
            )
            assert (n, claim) == (found.difference.n, found.difference.claim)


def test_what_charts_and_filters_need_stands_in_each_line(told):
    _, content = told
    of = content["texts"].__getitem__
    line = next(line for line in content["lines"] if line["arm"] == "dmt+im")
    assert [of(place)["name"] for place in line["plugins"]] == ["dmt", "im"]
    assert [of(place) for place in line["data"]] == ["playground-chat"]
    assert of(line["model"]) == {"name": "llama made for the run", "parameters": None}
    assert (line["tokens"], line["examples"], line["seeds"]) == (1_250_000, 6400, [0])


def test_an_arm_that_cannot_be_compared_says_why(maker, info, tmp_path, site):
    made = [maker.arm("sft", {"chat": 0.4}, seeds=(0,)), maker.arm("im", {"chat": 0.9}, seeds=(1,))]
    write_run(tmp_path, made, info)
    content = site(tmp_path).content["boards"][0]
    line = next(line for line in content["lines"] if line["arm"] == "im")
    mark, provisional, blocked, *numbers = line["composite"][4]
    assert (mark, provisional, content["texts"][blocked]) == ("?", 0, "no seed in common")
    assert numbers == [None, None, None]


@pytest.mark.parametrize(
    ("judge", "said"),
    [
        ({"model": "judge-1", "name": "here"}, ["judge-1"]),
        ({"name": "here"}, ['{"name":"here"}']),
        ("somebody", ["somebody"]),
        (None, []),
    ],
)
def test_judges_are_named(maker, info, tmp_path, site, *, judge, said):
    arm = maker.arm("sft", {"mt": 0.4})
    evaluation = arm.seeds[0].evaluations["mt"]
    judged = replace(evaluation, result={**evaluation.result, "judge": judge})
    write_run(tmp_path, [replace(arm, seeds=(replace(arm.seeds[0], evaluations={"mt": judged}),))], info)
    content = site(tmp_path).content["boards"][0]
    assert [content["texts"][place] for place in content["lines"][0]["judges"]] == said


@given(
    st.lists(st.recursive(st.text() | st.integers() | st.booleans(), lambda inner: st.dictionaries(st.text(), inner)))
)
def test_texts_stand_once_and_are_found_again(values):
    texts = Texts()
    places = [texts.place(value) for value in values]
    assert [texts.values[place] for place in places] == values
    assert len(texts.values) == len({json.dumps(value, sort_keys=True) for value in values})


def test_models_are_called_what_people_call_them():
    assert model_name({"id": "org/model", "init": None}) == "org/model"
    assert model_name({"id": None, "init": {"architecture": "llama"}}) == "llama made for the run"
    assert model_name({}) == "a model without a name"
