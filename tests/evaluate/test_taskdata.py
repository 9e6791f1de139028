import json
import shutil
from dataclasses import replace

import pytest

from harness.api import Hub
from harness.errors import UserError
from harness.evaluate.declare import Declarer
from harness.evaluate.taskdata import declared_data
from harness.jobs import EngineSettings


def load(evaluator, root, path, name=None, **options):
    import datasets

    declared = Declarer("x 1.0", root, None).respond(evaluator.task, EngineSettings(), limit=None, seed=0)
    with declared_data(evaluator.task, declared.data, root):
        return datasets.load_dataset(path, name, **options)


def with_data(evaluator, *hubs):
    return replace(evaluator, task=replace(evaluator.task, data=hubs))


def test_the_mirrors_rows_come_by_split(gsm8k, small_root):
    found = load(gsm8k, small_root, "openai/gsm8k", "main")
    assert set(found) == {"test"}
    assert found["test"].column_names == ["question", "answer"]
    assert len(found["test"]) == 12


def test_shards_make_one_split_and_configurations_are_told_apart(gsm8k, tmp_path):
    for folder in ("one", "two"):
        for split, n in (("train", 2), ("test", 1)):
            for shard in range(n):
                file = tmp_path / "org/set" / folder / f"{split}-0000{shard}-of-0000{n}.jsonl"
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_text(json.dumps({"text": f"{folder} {split} {shard}"}) + "\n")
    names = ("train-00000-of-00002", "train-00001-of-00002", "test-00000-of-00001")
    hubs = [Hub("org/set", tuple(f"{folder}/{name}.jsonl" for name in names)) for folder in ("one", "two")]
    found = load(with_data(gsm8k, *hubs), tmp_path, "org/set", "two")
    assert {split: rows["text"][:] for split, rows in found.items()} == {
        "train": ["two train 0", "two train 1"],
        "test": ["two test 0"],
    }


@pytest.mark.parametrize(
    ("declared", "held"),
    [
        ("data/set_test_{}.jsonl", "data/set_test_{}.jsonl"),
        ("{}/test/*.jsonl", "{}/test/0000.jsonl"),
        ("{}/test-*.jsonl", "{}/test-00000-of-00001.jsonl"),
    ],
)
def test_configurations_and_splits_are_told_by_folder_or_by_name(gsm8k, tmp_path, declared, held):
    for language in ("de", "en"):
        file = tmp_path / "org/set" / held.format(language)
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps({"text": language}) + "\n")
    task = with_data(gsm8k, *(Hub("org/set", (declared.format(language),)) for language in ("de", "en")))
    assert {split: rows["text"][:] for split, rows in load(task, tmp_path, "org/set", "en").items()} == {"test": ["en"]}
    with pytest.raises(
        UserError, match="the hub dataset org/set, configuration fr, which its plug-in declares 0 times"
    ):
        load(task, tmp_path, "org/set", "fr")


def test_an_undeclared_dataset_is_refused(gsm8k, small_root):
    with pytest.raises(UserError, match=r"the task gsm8k_chat reads the hub dataset org/other, .* declares 0 times"):
        load(gsm8k, small_root, "org/other")


def test_a_dataset_that_cannot_be_had_is_named_with_its_remedy(gsm8k, tmp_path):
    with pytest.raises(UserError, match=r"openai/gsm8k .*HARNESS_DATA_ROOT/openai/gsm8k/"):
        load(gsm8k, tmp_path, "openai/gsm8k", "main")


def test_data_that_has_changed_since_the_plan_is_refused(gsm8k, small_root, tmp_path):
    import datasets

    root = tmp_path / "mirror"
    shutil.copytree(small_root, root)
    declared = Declarer("x 1.0", root, None).respond(gsm8k.task, EngineSettings(), limit=None, seed=0)
    with (root / "openai/gsm8k/test.jsonl").open("a") as file:
        file.write(json.dumps({"question": "?", "answer": "#### 1"}) + "\n")
    with (
        declared_data(gsm8k.task, declared.data, root),
        pytest.raises(UserError, match="files of openai/gsm8k have changed since the plan was made"),
    ):
        datasets.load_dataset("openai/gsm8k", "main")


def test_a_tasks_own_files_are_read_and_no_others(write_task, tmp_path):
    task = write_task("own", "output_type: generate_until\n", [{"question": "q", "answer": "a"}])
    rows = tmp_path / "tasks" / "own" / "rows.jsonl"
    assert load(task, None, "json", data_files={"test": str(rows)})["test"]["question"][:] == ["q"]
    elsewhere = tmp_path / "elsewhere.jsonl"
    shutil.copy(rows, elsewhere)
    with pytest.raises(UserError, match=r"reads .*elsewhere\.jsonl, which is not in the folder of its YAML"):
        load(task, None, "json", data_files={"test": [str(elsewhere)]})


def test_a_relative_name_is_looked_up_beside_the_yaml(write_task, tmp_path, monkeypatch):
    task = write_task("own", "output_type: generate_until\n", [{"question": "q", "answer": "a"}])
    decoy = tmp_path / "elsewhere"
    decoy.mkdir()
    (decoy / "rows.jsonl").write_text(json.dumps({"question": "decoy", "answer": "a"}) + "\n")
    monkeypatch.chdir(decoy)
    for named in ("rows.jsonl", ["rows.jsonl"], {"train": ["rows.jsonl"]}):
        assert load(task, None, "json", data_files=named)["train"]["question"][:] == ["q"]


def test_load_dataset_is_lm_evals_own_again_afterwards(gsm8k, small_root):
    import datasets

    before = datasets.load_dataset
    load(gsm8k, small_root, "openai/gsm8k")
    assert datasets.load_dataset is before
