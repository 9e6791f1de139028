"""Finding tasks, groups and tags of tasks, ours and those that come with lm-eval."""

import pytest

from harness.api import LmEvalTask
from harness.errors import UserError
from harness.evaluate.tasks import check_own_files, find_task


@pytest.fixture
def folder(tmp_path):
    """A folder of three tasks, two of them tagged, and two groups of them."""

    def write(name, text):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)

    write("near/one.yaml", "include: ../common_yaml\ntask: one\n")
    write("near/two.yaml", "include: one.yaml\ntask: two\n")
    write("far/three.yaml", "task: three\n")
    write("common_yaml", "tag: pair\noutput_type: generate_until\n")
    write("near/group.yaml", "group: both\ntask: [pair]\n")
    write("far/all.yaml", "group: all\ntask: [both, {group: inner, task: [three]}]\n")
    return tmp_path


def find(folder, name):
    found = find_task(LmEvalTask(name, metric="acc", include=str(folder)))
    return [path.name for path in found.yaml], [path.name for path in found.folders], sorted(found.files)


def test_a_tag_is_all_tasks_that_bear_it_in_their_own_yaml_or_in_what_they_include(folder):
    near = ["group.yaml", "include/0", "one.yaml", "two.yaml"]
    assert find(folder, "pair") == (["one.yaml", "two.yaml"], ["near"], near)
    assert find(folder, "both") == (["one.yaml", "two.yaml"], ["near"], near)


def test_a_group_holds_tasks_of_several_folders_and_groups_of_its_own(folder):
    yaml, folders, files = find(folder, "all")
    assert (yaml, folders) == (["one.yaml", "two.yaml", "three.yaml"], ["far", "near"])
    assert files == [
        "far/all.yaml", "far/three.yaml", "include/0", "near/group.yaml", "near/one.yaml", "near/two.yaml",
    ]  # fmt: skip


def test_a_group_with_a_member_that_is_not_there_is_refused(folder):
    (folder / "near" / "group.yaml").write_text("group: both\ntask: [one, four]\n")
    with pytest.raises(UserError, match="the group both holds 'four', which no file beside it defines"):
        find(folder, "both")


def test_data_of_a_groups_tasks_must_lie_beside_them(folder):
    data = "dataset_path: json\ndataset_kwargs: {data_files: {test: rows.jsonl}}\n"
    (folder / "common_yaml").write_text(f"tag: pair\n{data}")
    group = LmEvalTask("all", metric="acc", include=str(folder))
    with pytest.raises(UserError, match=r"the task all reads rows\.jsonl, which is not in the folder of its YAML"):
        check_own_files(group)
    (folder / "near" / "rows.jsonl").write_text("{}\n")
    check_own_files(group)
    (folder / "far" / "rows.jsonl").write_text("{}\n")
    with pytest.raises(UserError, match=r"tasks of all read rows\.jsonl, and each of .*far or .*near has one"):
        check_own_files(group)


def test_stock_tasks_are_looked_for_in_one_folder_of_lm_evals():
    found = find_task(LmEvalTask("mmlu", metric="acc", stock="mmlu/default"))
    assert len(found.yaml) == 57
    assert "_default_template_yaml" in found.files
    assert not any("__pycache__" in path.parts for path in found.files.values())
    assert {path.parts[-4:] for path in found.folders} == {("lm_eval", "tasks", "mmlu", "default")}


@pytest.mark.parametrize(
    ("task", "error"),
    [
        (LmEvalTask("x", metric="acc", stock="nowhere"), "there is no task folder .*lm_eval/tasks/nowhere"),
        (LmEvalTask("x", metric="acc", stock="piqa"), "0 files in .*piqa define the task 'x' .there are: piqa"),
        (LmEvalTask("x", metric="acc", stock="piqa", include="here"), "the task x has both `include` and `stock`"),
    ],
)
def test_a_stock_task_that_is_not_there_is_named(task, error):
    with pytest.raises(UserError, match=error):
        find_task(task)


def test_the_plug_in_declares_the_folders_that_lm_eval_has():
    import importlib

    from harness.api import Arm

    for evaluator in importlib.import_module("harness.plugins.sft_eval").evaluator(Arm("sft", ("sft",))):
        assert find_task(evaluator.task).yaml
