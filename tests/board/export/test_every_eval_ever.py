"""Every Eval Ever: valid by its published schema, and true."""

import json
import os
from dataclasses import replace
from pathlib import Path

import jsonschema
import pytest

from harness.board.export.every_eval_ever import as_every_eval_ever
from harness.board.export.selection import HubDataset, Told, select
from harness.board.publish import write_run
from harness.errors import UserError

SCHEMAS = Path(os.environ.get("HARNESS_SCHEMA_ROOT") or Path(__file__).parents[4] / "shared/schemas")
SCHEMA = SCHEMAS / "every_eval_ever/eval.schema.json"
US = Told(organization="Us")


@pytest.fixture
def valid():
    """A document of that text, which must be valid."""
    if not SCHEMA.is_file():
        pytest.skip("the published schema is not beside the checkout, and HARNESS_SCHEMA_ROOT names no folder with it")
    validator = jsonschema.Draft7Validator(json.loads(SCHEMA.read_text(encoding="utf-8")))

    def valid(text):
        document = json.loads(text)
        assert [error.message for error in validator.iter_errors(document)] == []
        return document

    return valid


def documents(selection, told=US):
    return {json.loads(text)["model_info"]["name"]: text for text in as_every_eval_ever(selection, told).files.values()}


def test_every_row_is_a_valid_document(selection, valid):
    assert sorted(documents(selection)) == ["dmt", "dmt+im", "sft"]
    for text in documents(selection).values():
        assert valid(text)["schema_version"] == "0.3.0"


def test_rows_of_a_published_board_are_valid(published, valid):
    for text in documents(select(published)).values():
        valid(text)


def test_scores_intervals_and_counts_are_those_of_the_row(selection, valid):
    for _, line, row in selection.lines():
        document = valid(documents(selection)[line.arm])
        found = {one["evaluation_name"]: one for one in document["evaluation_results"]}
        assert list(found) == [*row.result.tasks, "composite"]
        for name, task in row.result.tasks.items():
            said = found[name]["score_details"]
            assert said["score"] == task.score
            assert said["uncertainty"] == {
                "confidence_interval": {
                    "lower": task.interval.low,
                    "upper": task.interval.high,
                    "confidence_level": 0.95,
                    "method": "wilson",
                },
                "num_samples": 200,
            }
            assert json.loads(said["details"]["outcomes"]) == {"scored": 200}
            assert json.loads(said["details"]["samples_sha256"]) == {"0": task.seeds[0].samples_sha256}
            assert found[name]["source_data"] == {"dataset_name": name, "source_type": "other"}
            assert found[name]["metric_config"]["metric_id"] == f"{name}.exact_match,none"
        composite = found["composite"]["score_details"]
        assert composite["score"] == row.result.composite.score
        assert composite["uncertainty"]["confidence_interval"]["lower"] == line.composite.interval.low


def test_who_what_and_when(published, valid):
    selection = select(published)
    _, line, row = selection.lines()[0]
    document = valid(documents(selection)[line.arm])
    assert document["retrieved_timestamp"] == str(selection.recorded[row.id])
    assert document["evaluation_id"] == f"playground/{line.arm}@{row.id[:12]}/{selection.recorded[row.id]}/{row.id}"
    assert document["source_metadata"]["source_organization_name"] == "Us"
    assert document["source_metadata"]["evaluator_relationship"] == "first_party"
    assert document["model_info"]["inference_engine"] == {"name": "transformers"}
    assert document["model_info"]["additional_details"]["deployment_type"] == "self_deployed"
    assert "evaluation_timestamp" not in document
    assert document["eval_library"]["additional_details"]["torch"] == "2.13.0"


def test_who_provides_the_numbers_is_never_made_up(selection):
    with pytest.raises(UserError, match="who provides the numbers"):
        as_every_eval_ever(selection, Told())


def test_what_is_told_stands_in_its_place(selection, valid):
    told = replace(
        US,
        relationship="collaborative",
        source="https://example.org",
        models={next(line.row for _, line, _ in selection.lines() if line.arm == "dmt"): "me/dmt"},
        datasets={"chat": HubDataset("owner/chat", revision="abc")},
    )
    document = valid(documents(selection, told)["dmt"])
    assert document["model_info"]["id"] == "me/dmt"
    assert document["source_metadata"]["evaluator_relationship"] == "collaborative"
    assert document["source_metadata"]["source_organization_url"] == "https://example.org"
    chat = next(one for one in document["evaluation_results"] if one["evaluation_name"] == "chat")
    assert chat["source_data"] == {
        "dataset_name": "chat",
        "source_type": "hf_dataset",
        "hf_repo": "owner/chat",
        "additional_details": {"revision": "abc"},
    }


def test_seeds_a_judge_missing_items_and_scores_beyond_one(maker, info, tmp_path, valid):
    arm = maker.arm("sft", {"chat": 0.5}, seeds=(0, 1, 2), n=20)
    seeds = []
    for seed in arm.seeds:
        beyond = maker.evaluation("beyond", "ter", seed.seed, [1.5, 0.5, 0.25 * seed.seed, 0.1])
        nothing = maker.evaluation("nothing", "code", seed.seed, [None] * 4)
        chat = seed.evaluations["chat"]
        judged = replace(chat, out_of=10, result={**chat.result, "judge": {"model": "gpt", "temperature": 0.0}})
        evaluations = {"chat": judged, "ter": replace(beyond, higher_is_better=False), "code": nothing}
        seeds.append(replace(seed, evaluations=evaluations))
    served = {"name": "endpoint", "dtype": "float32"}
    write_run(tmp_path / "run", [replace(arm, seeds=tuple(seeds))], replace(info, engine=served))
    document = valid(documents(select(tmp_path / "run"))["sft"])
    found = {one["evaluation_name"]: one for one in document["evaluation_results"]}
    assert list(found) == ["chat", "ter"]  # nothing was scored of code, and so there is no composite
    assert found["chat"]["score_details"]["uncertainty"]["num_samples"] == 3
    details = found["chat"]["metric_config"]["additional_details"]
    assert details["shown_out_of"] == "10"
    assert json.loads(details["judge"]) == {"model": "gpt", "temperature": 0.0}
    assert (found["ter"]["metric_config"]["min_score"], found["ter"]["metric_config"]["max_score"]) == (None, None)
    assert found["ter"]["metric_config"]["lower_is_better"] is True
    assert "inference_engine" not in document["model_info"]
    assert document["model_info"]["additional_details"]["deployment_type"] == "unknown"


def test_every_document_has_an_id_of_its_own(two_boards):
    """Also where one model is told for two rows of one suite that were published in the same second."""
    selection = select(two_boards)
    rows = [line.row for _, line, _ in selection.lines() if line.arm == "sft"]
    assert len(rows) == 2
    selection = replace(selection, recorded=dict.fromkeys(selection.recorded, 1_800_000_000))
    files = as_every_eval_ever(selection, replace(US, models=dict.fromkeys(rows, "me/sft"))).files
    assert len({json.loads(text)["evaluation_id"] for text in files.values()}) == 6
