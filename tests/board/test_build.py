"""From finished jobs to a row."""

from dataclasses import replace

import pydantic
import pytest

from harness.board.build import arm_samples, build_row
from harness.board.inputs import GitState, MergeRun
from harness.board.rows import Row
from harness.errors import Failure

SHARES = {"arithmetic": 0.9, "chat": 0.5}


def row_of(arm, info):
    return build_row(arm, info, arm_samples(arm))


def with_evaluation(arm, benchmark, **changes):
    """The arm, with changes to its first seed's evaluation."""
    seed = arm.seeds[0]
    evaluation = replace(seed.evaluations[benchmark], **changes)
    return replace(arm, seeds=(replace(seed, evaluations={**seed.evaluations, benchmark: evaluation}), *arm.seeds[1:]))


def test_the_result_is_that_of_the_samples(maker, info):
    arm = maker.arm("sft", SHARES)
    row = row_of(arm, info)
    task = row.result.tasks["chat"]
    assert task.score == arm.seeds[0].evaluations["chat"].result["score"]
    assert (task.n_expected, task.n_scored, task.n_missing) == (200, 200, 0)
    assert task.outcomes == {"scored": 200}
    assert task.metrics == {"exact_match,none": task.score, "length,none": 3.0}
    assert list(row.result.seeds[0].evaluations["chat"].prompts) == ["template_digest"]
    assert task.seeds[0].stopped_by_length == 20
    assert task.interval.method == "wilson"
    scores = [one.score for one in row.result.tasks.values()]
    assert row.result.composite.score == pytest.approx(sum(scores) / 2)


def test_several_seeds_are_a_mean_with_an_interval_over_seeds(maker, info):
    row = row_of(maker.arm("sft", SHARES, seeds=(0, 1, 2)), info)
    task = row.result.tasks["chat"]
    assert task.score == pytest.approx(sum(part.score for part in task.seeds) / 3)
    assert task.interval.method == "t over seeds"
    assert (task.n_expected, task.items) == (600, 200)
    assert row.result.composite.interval.method == "t over seeds"


def test_what_was_measured_does_not_touch_the_result(maker, info):
    arm = maker.arm("sft", SHARES)
    elsewhere = replace(
        info, command="harness run", git=GitState("1" * 40, dirty=True), hardware={"processor": "other"}, packages={}
    )
    slower = replace(
        arm,
        seeds=tuple(
            replace(seed, train=tuple(replace(train, measured={"seconds": 9e9}) for train in seed.train))
            for seed in arm.seeds
        ),
        plugins=tuple(replace(plugin, digest="0" * 64, distribution=None) for plugin in arm.plugins),
    )
    here, there = row_of(arm, info), row_of(slower, elsewhere)
    assert here.id == there.id
    assert here.result == there.result
    assert here.measured != there.measured


def test_another_option_is_another_row(maker, info):
    arm = maker.arm("dmt", SHARES)
    other = replace(arm, plugins=(replace(arm.plugins[0], options={"k": "1/64"}),))
    assert row_of(arm, info).id != row_of(other, info).id


def test_a_row_survives_json_with_its_id(maker, info):
    row = row_of(maker.arm("sft", SHARES, seeds=(3, 1)), info)
    assert Row.model_validate_json(row.model_dump_json()) == row


def test_a_row_whose_numbers_were_changed_does_not_load(maker, info):
    row = row_of(maker.arm("sft", SHARES), info)
    text = row.model_dump_json().replace('"n_scored":200', '"n_scored":201')
    with pytest.raises(pydantic.ValidationError, match="digest of its result"):
        Row.model_validate_json(text)


def test_a_job_whose_score_is_not_its_samples_mean_makes_no_row(maker, info):
    arm = maker.arm("sft", SHARES)
    result = {**arm.seeds[0].evaluations["chat"].result, "score": 0.99}
    with pytest.raises(Failure, match=r"recorded the score 0\.99"):
        row_of(with_evaluation(arm, "chat", result=result), info)


def test_a_misnamed_score_is_not_taken_for_missing_items(maker, info):
    arm = maker.arm("sft", SHARES)
    with pytest.raises(Failure, match="exact_match,strict"):
        row_of(with_evaluation(arm, "chat", score_name="exact_match,strict"), info)


def test_changed_samples_are_noticed(maker):
    arm = maker.arm("sft", SHARES)
    path = arm.seeds[0].evaluations["chat"].folder / "samples.jsonl"
    path.write_text(path.read_text().replace('"extracted": "7"', '"extracted": "8"'))
    with pytest.raises(Failure, match="is not what job"):
        arm_samples(arm)


def test_damaged_samples_name_file_and_line(maker):
    arm = maker.arm("sft", SHARES)
    path = arm.seeds[0].evaluations["chat"].folder / "samples.jsonl"
    whole = path.read_text()
    path.write_text(whole[:-40])
    with pytest.raises(Failure, match=r"samples\.jsonl:200 is not a sample"):
        arm_samples(arm)
    path.write_text(whole + whole.split("\n", 1)[0] + "\n")
    with pytest.raises(Failure, match=r"samples\.jsonl:201 holds item chat-0000 a second time"):
        arm_samples(arm)


def test_missing_is_not_wrong(maker, info):
    arm = maker.arm("sft", SHARES)
    evaluation = maker.evaluation("sft", "few", 0, [1, None, 0, 1, None])
    row = row_of(with_evaluation(arm, "chat", **vars(evaluation)), info)
    task = row.result.tasks["chat"]
    assert task.score == pytest.approx(2 / 3)
    assert (task.n_expected, task.n_scored, task.n_missing) == (5, 3, 2)
    assert task.outcomes == {"engine_error": 2, "scored": 3}
    assert task.missing_too_many


def test_items_absent_from_the_file_are_missing(maker, info):
    arm = maker.arm("sft", SHARES)
    result = {**arm.seeds[0].evaluations["chat"].result, "n_expected": 300}
    task = row_of(with_evaluation(arm, "chat", result=result), info).result.tasks["chat"]
    assert (task.n_scored, task.n_missing) == (200, 100)


def test_more_samples_than_items_are_refused(maker, info):
    """Or a smaller number of expected items would hide those that went missing."""
    arm = maker.arm("sft", SHARES)
    result = {**arm.seeds[0].evaluations["chat"].result, "n_expected": 199}
    with pytest.raises(Failure, match="200 samples of 199 items"):
        row_of(with_evaluation(arm, "chat", result=result), info)


def test_without_any_score_there_is_no_composite(maker, info):
    arm = maker.arm("sft", SHARES)
    evaluation = maker.evaluation("sft", "none", 0, [None, None])
    row = row_of(with_evaluation(arm, "chat", **vars(evaluation)), info)
    assert row.result.tasks["chat"].score is None
    assert row.result.composite.score is None


def test_lower_is_better_enters_the_composite_the_right_way_round(maker, info):
    arm = with_evaluation(maker.arm("sft", SHARES), "chat", higher_is_better=False)
    tasks = row_of(arm, info).result
    expected = (tasks.tasks["arithmetic"].score + 1 - tasks.tasks["chat"].score) / 2
    assert tasks.composite.score == pytest.approx(expected)


def test_jobs_that_seeds_share_are_timed_once(maker, info):
    arm = maker.arm("base", SHARES, seeds=(0, 1))
    shared = replace(arm, seeds=(arm.seeds[0], replace(arm.seeds[0], seed=1)))
    assert row_of(shared, info).measured.seconds == 64.0
    assert row_of(arm, info).measured.seconds == 128.0
    assert row_of(arm, info).measured.peak_bytes == 2000


def test_a_job_on_several_devices_takes_the_time_of_each(maker, info):
    arm = maker.arm("sft", SHARES)
    seed = arm.seeds[0]
    launched = replace(seed.train[0], measured={"seconds": 7200.0, "device_hours": 16.0, "world_size": 8})
    row = row_of(replace(arm, seeds=(replace(seed, train=(launched,)),)), info)
    assert row.measured.device_hours == pytest.approx(16.0 + 2 * 2.0 / 3600)
    assert row.measured.seconds == 7204.0


def test_a_row_of_the_first_version_is_still_read(maker, info):
    row = row_of(maker.arm("sft", SHARES), info).model_dump(mode="json")
    del row["measured"]["device_hours"], row["measured"]["restarted"]
    read = Row.model_validate({**row, "schema_version": 1})
    assert read.measured.device_hours is None


def test_a_merge_is_part_of_the_row(maker, info):
    arm = maker.arm("dtm", SHARES)
    merge = MergeRun(key="0" * 64, method="average", weights={"a": "1/2", "b": "1/2"}, measured={"seconds": 1.0})
    row = row_of(replace(arm, seeds=(replace(arm.seeds[0], merge=merge),)), info)
    assert row.result.seeds[0].merge.weights == {"a": "1/2", "b": "1/2"}
    assert "merge" in [job.job for job in row.measured.jobs]
