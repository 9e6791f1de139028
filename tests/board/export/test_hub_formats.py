"""What the Hugging Face Hub reads, read by its own library."""

from dataclasses import replace

import pytest
import yaml
from huggingface_hub import ModelCard, parse_eval_result_entries
from huggingface_hub.repocard_data import model_index_to_eval_results

from harness.board.export.eval_results import as_eval_results
from harness.board.export.model_index import as_model_index
from harness.board.export.selection import HubDataset, Told, select
from harness.board.publish import write_run
from harness.errors import UserError

CHAT = {"chat": HubDataset("owner/chat", revision="abc", task="default")}


def front_matter(text):
    head, rest = text.removeprefix("---\n").split("\n---\n")
    assert rest == ""
    return yaml.safe_load(head)


def test_the_hubs_parser_reads_every_score_of_the_model_index(selection):
    files = as_model_index(selection, Told(source="https://example.org/board")).files
    assert len(files) == 3
    for _, line, row in selection.lines():
        text = next(text for name, text in files.items() if line.row[:12] in name)
        card = ModelCard(text)  # raises where the model-index cannot be read
        name, results = model_index_to_eval_results(front_matter(text)["model-index"])
        assert name == f"{line.arm}@{line.row[:12]}"
        assert [one.metric_value for one in card.data.eval_results] == [one.metric_value for one in results]
        scores = {one.dataset_name: one.metric_value for one in results}
        expected = {name: 100 * task.score for name, task in row.result.tasks.items()}
        assert scores == pytest.approx(expected | {"playground": 100 * row.result.composite.score})
        assert {one.task_type for one in results} == {"text-generation"}
        assert {one.source_url for one in results} == {"https://example.org/board"}
        assert {one.verified for one in results} == {None}


def test_protocol_scale_interval_and_seeds_are_in_the_metrics_name(selection):
    _, _, row = selection.lines()[0]
    (text,) = as_model_index(replace(selection, boards=(only(selection, row.result.arm),)), Told()).files.values()
    _, results = model_index_to_eval_results(front_matter(text)["model-index"])
    chat = next(one for one in results if one.dataset_name == "chat")
    interval = row.result.tasks["chat"].interval
    assert chat.metric_type == "exact_match"
    assert chat.metric_name == (
        f"exact_match,none (strict-1; out of 100; "
        f"95 % interval [{100 * interval.low:.1f}, {100 * interval.high:.1f}]; seed 0)"
    )
    assert (chat.dataset_type, chat.source_url) == ("chat", None)


def test_the_composite_has_the_interval_that_the_board_gives_it(selection):
    for _, line, row in selection.lines():
        assert row.result.composite.interval is None  # of one seed; the board resamples its items
        interval = line.composite.interval
        text = next(text for name, text in as_model_index(selection, Told()).files.items() if line.row[:12] in name)
        composite = front_matter(text)["model-index"][0]["results"][-1]
        between = f"95 % interval [{100 * interval.low:.1f}, {100 * interval.high:.1f}]"
        assert composite["metrics"][0]["name"] == f"macro-average (playground; out of 100; {between}; seed 0)"


def only(selection, arm):
    board = selection.boards[0]
    return board.model_copy(update={"lines": tuple(line for line in board.lines if line.arm == arm)})


def test_base_model_and_training_data_are_named_where_they_are_on_the_hub(maker, info, tmp_path):
    arm = maker.arm("sft", {"chat": 0.5}, n=4)
    data = replace(arm.data[0], source={"hub": "owner/data", "revision": "1", "files": []})
    base = maker.arm("base", {"chat": 0.5}, n=4)
    untrained = replace(base, seeds=tuple(replace(seed, train=()) for seed in base.seeds))
    hub = {"id": "owner/model", "revision": "abc", "init": None}
    write_run(
        tmp_path / "run", [replace(arm, data=(data,)), replace(untrained, data=(data,))], replace(info, model=hub)
    )
    selection = select(tmp_path / "run")
    told = Told(models={next(line.row for _, line, _ in selection.lines() if line.arm == "sft"): "me/tuned"})
    files = as_model_index(selection, told).files
    cards = {name.split("-")[0]: front_matter(text) for name, text in files.items()}
    assert (cards["sft"]["base_model"], cards["sft"]["datasets"]) == ("owner/model", ["owner/data"])
    assert cards["sft"]["model-index"][0]["name"] == "me/tuned"
    assert "base_model" not in cards["base"]
    assert "datasets" not in cards["base"]


def test_eval_results_hold_what_is_a_benchmark_on_the_hub(selection):
    found = as_eval_results(selection, Told(datasets=CHAT, source="https://example.org/board"))
    for _, line, row in selection.lines():
        text = next(text for name, text in found.files.items() if line.row[:12] in name)
        (entry,) = parse_eval_result_entries(yaml.safe_load(text))
        assert entry.value == pytest.approx(100 * row.result.tasks["chat"].score)
        assert (entry.dataset_id, entry.task_id, entry.dataset_revision) == ("owner/chat", "default", "abc")
        assert (entry.source_url, entry.date, entry.verify_token) == ("https://example.org/board", None, None)
        assert entry.notes.startswith("exact_match,none, strict-1; 95 % interval [")
        assert entry.notes.endswith(f"seed 0; row {row.id}")
    assert [said.split()[0] for said in found.left_out] == ["arithmetic", "code"]


def test_eval_results_of_nothing_that_the_hub_knows_are_refused(selection):
    with pytest.raises(UserError, match="arithmetic is left out: no --dataset"):
        as_eval_results(selection, Told())
    with pytest.raises(UserError, match="chat is left out: no --dataset"):
        as_eval_results(selection, Told(datasets={"chat": HubDataset("owner/chat")}))


def test_a_benchmark_without_a_score_is_told_and_not_written(maker, info, tmp_path):
    arm = maker.arm("sft", {"chat": 0.5}, n=4)
    seed = arm.seeds[0]
    broken = maker.evaluation("sft", "code", 1, [None] * 4)
    arm = replace(arm, seeds=(replace(seed, evaluations={**seed.evaluations, "code": broken}),))
    write_run(tmp_path / "run", [arm], info)
    selection = select(tmp_path / "run")
    found = as_eval_results(selection, Told(datasets={**CHAT, "code": HubDataset("a/b", task="c")}))
    assert found.left_out == ("code of sft is left out: it has no score",)
    (text,) = as_model_index(selection, Told()).files.values()
    assert [one["dataset"]["name"] for one in front_matter(text)["model-index"][0]["results"]] == ["chat"]


@pytest.mark.parametrize("arm", ["'", "a: b", "- x", "---\nevil: 1", "\u2028", "{{ x }}", "!!python/object:os.system"])
def test_names_stay_values(maker, info, tmp_path, arm):
    write_run(tmp_path / "run", [maker.arm(arm, {"chat": 0.5}, n=4, baseline=None)], info)
    selection = select(tmp_path / "run")
    (text,) = as_model_index(selection, Told()).files.values()
    row = next(iter(selection.rows))
    assert ModelCard(text).data.model_name == f"{arm}@{row[:12]}"
