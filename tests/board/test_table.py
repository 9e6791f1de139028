"""What a person sees on a terminal."""

from dataclasses import replace

import pytest

from harness.api import Total
from harness.board.publish import read_board, write_run
from harness.canonical import file_digest

OVER_ITEMS = "Where all seeds show the same difference, its interval is over the first seed's items."


@pytest.fixture
def board(arms, info, tmp_path):
    return write_run(tmp_path, arms, info)


@pytest.mark.parametrize("width", [60, 80, 120])
def test_table(board, width, snapshot, printed):
    text = printed(board, width)
    assert max(map(len, text.split("\n"))) <= width
    assert text == snapshot


def test_table_of_three_seeds(maker, info, tmp_path, snapshot, printed):
    arms = [maker.arm(arm, {"chat": share}, seeds=(0, 1, 2)) for arm, share in (("sft", 0.4), ("im", 0.9))]
    assert printed(write_run(tmp_path, arms, info), 80) == snapshot


def test_colours_only_on_a_terminal(board, printed):
    assert "\x1b[" not in printed(board, 80)
    assert "\x1b[32m" in printed(board, 80, force_terminal=True, color_system="standard", legacy_windows=False)


def test_missing_items_and_blocked_claims_are_said_in_words(maker, arms, info, tmp_path, printed):
    seed = arms[2].seeds[0]
    evaluation = maker.evaluation("gap", "chat", 0, [1] * 190 + [None] * 10)
    arms[2] = replace(arms[2], seeds=(replace(seed, evaluations={**seed.evaluations, "chat": evaluation}),))
    text = printed(write_run(tmp_path, arms, info), 60)
    assert "10 missing" in text
    assert "10 missing" in printed(read_board(tmp_path), 200)
    assert "! no claim: more than 1 % of the items are missing." in text


def test_a_stage_that_was_begun_anew_is_told_in_its_row(maker, info, tmp_path, printed):
    arm = maker.arm("dmt", {"chat": 0.5})
    seed = arm.seeds[0]
    again = replace(seed.train[0], measured={"seconds": 3600.0 * 30, "restarted": True})
    found = write_run(tmp_path, [replace(arm, seeds=(replace(seed, train=(again,)),))], info)
    for text in (printed(found, 200), printed(found, 60)):
        assert "restarted: train (seed 0)" in text
        assert "begun anew with --restart-stage" in " ".join(text.split())
        assert "dmt 30.0 device-hours" in " ".join(text.split())


def test_what_befell_answers_and_a_limit_are_told_below_the_table(maker, info, tmp_path, printed):
    arm = maker.arm("dmt+im", {"gsm8k": 0.5}, n=20)
    seed = arm.seeds[0]
    samples = seed.evaluations["gsm8k"].folder / "samples.jsonl"
    samples.write_text(
        samples.read_text()
        .replace('"prompt_cut": false', '"prompt_cut": 3', 1)
        .replace('"outcome": "scored"', '"outcome": "unparsed"', 2)
    )
    evaluation = seed.evaluations["gsm8k"]
    evaluation = replace(evaluation, result={**evaluation.result, "samples_sha256": file_digest(samples)})
    arm = replace(arm, seeds=(replace(seed, evaluations={"gsm8k": evaluation}),))
    board = write_run(tmp_path, [arm], replace(info, limit=20))
    shown = printed(board, 200)
    assert "gsm8k: answers cut by length: dmt+im 2 of 20." in shown
    assert "gsm8k: prompts cut to fit the context: dmt+im 1 of 20." in shown
    assert "gsm8k: answers in which no result was found: dmt+im 2 of 20." in shown
    assert "limit 20: only so many items of each benchmark were asked; not publishable." in shown


def test_a_board_of_whole_answers_says_nothing_of_them(maker, info, tmp_path, printed):
    text = printed(write_run(tmp_path, [maker.arm("sft", {"chat": 0.5}, n=200)], info), 80)
    assert "limit" not in text
    assert "context" not in text
    assert "no result" not in text


def test_seeds_that_agree_are_explained(maker, info, tmp_path, printed):
    arms = [maker.arm(arm, {"chat": share}, seeds=(0, 1, 2)) for arm, share in (("sft", 0.0), ("im", 1.0))]
    text = printed(write_run(tmp_path, arms, info), 200)
    assert "+*" in text
    assert OVER_ITEMS in text


@pytest.mark.parametrize(
    ("seeds", "shares", "total", "said"),
    [
        pytest.param(range(1), (0.2, 0.9), None, False, id="one seed in common"),
        pytest.param(range(5), (0.2, 0.9), None, False, id="seeds that vary"),
        pytest.param(range(5), (0.0, 1.0), None, True, id="seeds that agree"),
        pytest.param(range(5), (0.0, 1.0), Total(out_of=200), False, id="totals that agree"),
        pytest.param(range(5), (1.0, 1.0), None, True, id="equal models"),
    ],
)
def test_an_interval_over_items_is_explained_where_seeds_agree(
    maker, info, tmp_path, printed, *, seeds, shares, total, said
):
    arms = []
    for arm, share, of in (("sft", shares[0], seeds), ("im", shares[1], range(5))):
        made = maker.arm(arm, {"chat": share}, seeds=of)
        evaluations = [{"chat": replace(seed.evaluations["chat"], total=total)} for seed in made.seeds]
        parts = zip(made.seeds, evaluations, strict=True)
        arms.append(replace(made, seeds=tuple(replace(seed, evaluations=found) for seed, found in parts)))
    assert (OVER_ITEMS in printed(write_run(tmp_path, arms, info), 200)) == said


@pytest.mark.parametrize(("trained", "said"), [(True, True), (False, False)])
def test_the_answers_of_one_model_are_averaged_and_no_first_seed_is_spoken_of(
    maker, info, tmp_path, printed, *, trained, said
):
    """Unless the baseline was trained: a model for each seed is compared with draws of one."""
    sft, base = (maker.arm(arm, {"chat": share}, seeds=(0, 1, 2)) for arm, share in (("sft", 0.0), ("base", 1.0)))
    base = replace(base, seeds=tuple(replace(seed, train=()) for seed in base.seeds))
    if not trained:
        sft = replace(sft, seeds=tuple(replace(seed, train=()) for seed in sft.seeds))
    board = write_run(tmp_path, [sft, base], replace(info, model={"id": "owner/model", "revision": "abc"}))
    assert (OVER_ITEMS in printed(board, 200)) == said


def test_matched_arms_and_untrained_ones_say_so(maker, info, tmp_path, printed):
    base = maker.arm("base", {"chat": 0.1})
    untrained = replace(base, seeds=tuple(replace(seed, train=()) for seed in base.seeds))
    matched = replace(maker.arm("sft", {"chat": 0.5}), match="tokens of dmt")
    text = printed(write_run(tmp_path, [matched, untrained], info), 80)
    assert "not trained" in text
    assert "sft: matched, tokens of dmt." in text
