"""The tables and panels say what the comparison found."""

import pytest

from harness.board.report.content import content


def by_name(table):
    return {row[0]: dict(zip(table.head, row, strict=True)) for row in table.rows}


def test_differences_are_those_of_the_contrast(checkpoints):
    found = content(checkpoints.made, checkpoints.rows)
    assert [one.title for one in found.comparisons] == ["dmt against sft", "dmt+im against sft"]
    contrast, shown = checkpoints.made.contrasts[0], found.comparisons[0]
    rows = by_name(shown.table)
    assert list(rows) == ["composite", "arithmetic", "code", "chat"]
    chat = contrast.cells["chat"]
    assert rows["chat"]["diff"] == f"{100 * chat.difference.value:+.1f} {chat.mark}"
    assert rows["chat"]["over"] == "200 items"
    assert rows["chat"]["p adjusted"] == "<.001"
    assert rows["composite"]["detects"] == f"{100 * contrast.composite.detectable:.1f}"
    assert list(shown.table.marks) == [contrast.composite.mark, *(one.mark for one in contrast.cells.values())]
    assert shown.claim.startswith("A claim about the two checkpoints of seed 0")
    whisker = shown.panel.whiskers[3]
    assert (whisker.name, whisker.mark) == ("chat", "-")
    assert whisker.value == pytest.approx(100 * chat.difference.value)
    assert (whisker.low, whisker.high) == (
        pytest.approx(100 * chat.difference.interval.low),
        pytest.approx(100 * chat.difference.interval.high),
    )


def test_scores_ranks_and_budgets_are_those_of_the_rows(seeds):
    found = content(seeds.made, seeds.rows)
    row = next(row for row in seeds.rows if row.result.arm == "dmt")
    score = by_name(found.scores)["dmt"]
    task = row.result.tasks["code"]
    assert score["code"] == (f"{100 * task.score:.1f} [{100 * task.interval.low:.1f}, {100 * task.interval.high:.1f}]")
    assert score["ranks"] == "1-1"
    arm = by_name(found.arms)["dmt"]
    assert arm == {
        "arm": "dmt",
        "methods": "dmt 1.0",
        "budget": "its own epochs",
        "seeds": "0, 1, 2, 3, 4",
        "examples": "6,400",
        "tokens": "1,250,000",
        "took": "5.3 device-minutes",  # five seeds, each 60 s of training and two evaluations of 2 s
    }


def test_outcomes_are_counted_over_the_seeds(seeds):
    rows = [dict(zip(content(seeds.made, seeds.rows).outcomes.head, row, strict=True)) for row in
            content(seeds.made, seeds.rows).outcomes.rows]  # fmt: skip
    assert len(rows) == 4
    assert rows[0]["items"] == "60"
    assert {(row["expected"], row["scored"], row["missing"], row["outcomes"]) for row in rows} == {
        ("300", "300", "0", "300 scored")
    }
    assert {row["cut by length"] for row in rows} == {"30"}


def test_where_it_comes_from(seeds):
    found = content(seeds.made, seeds.rows)
    row = next(row for row in seeds.rows if row.result.arm == "sft")
    assert by_name(found.provenance)["sft"] == {
        "arm": "sft",
        "row": row.id,
        "commit": "0" * 40,
        "hardware": "processor: test",
        "command": "harness run --plugins im,dmt",
    }
    assert by_name(found.packages)["torch"]["version"] == "2.13.0"
    shared = by_name(found.shared)
    assert shared["recipe"]["all arms"] == row.result.recipe_sha256
    assert shared["base model"]["all arms"] == "made on the spot: architecture: llama"
    assert found.data.rows == [
        ("playground-chat", "general", "generated: (seed: 0)", "3,000", "", "all"),
    ]


def test_settings_in_which_an_arm_differs_are_named(maker, compared):
    from dataclasses import replace

    sft, dmt = (maker.arm(name, {"chat": 0.5}, n=20) for name in ("sft", "dmt"))
    dmt = replace(dmt, differs={"train.lr": 0.001, "stages": ["specialist", "general"]})
    found = compared([sft, dmt])
    assert content(found.made, found.rows).differing == [
        "dmt differs from sft in train.lr: 0.001, stages: specialist, general."
    ]
