import shutil
import subprocess
import sys
from dataclasses import dataclass, replace

import pytest

from harness.api import Benchmark, Evaluator, Files, Hub, LmEvalTask, Questions, Scorer
from harness.errors import UserError
from harness.evaluate.declare import Declarer
from harness.evaluate.tasks import find_task, shipped_tasks
from harness.jobs import EngineSettings


def declared(evaluator, root=None, cache=None):
    declarer = Declarer("gsm8k 1.0", root, cache)
    return declarer.respond(evaluator.task, EngineSettings(), limit=None, seed=0).model_dump()


@pytest.fixture
def own_task(tmp_path, gsm8k):
    """The shipped GSM8K task, copied into a folder of its own."""
    shutil.copytree(shipped_tasks() / "gsm8k", tmp_path / "tasks" / "gsm8k", ignore=shutil.ignore_patterns("__py*"))
    return replace(gsm8k, task=replace(gsm8k.task, include=str(tmp_path / "tasks")))


def test_planning_imports_nothing_heavy():
    code = (
        "import sys, importlib; from harness.api import Arm; from harness.evaluate.declare import Declarer;"
        "from harness.jobs import EngineSettings;"
        "p = importlib.import_module('harness.plugins.gsm8k');"
        "(gsm8k,) = p.evaluator(Arm('x', ()));"
        "declarer = Declarer('gsm8k 1.0', None, None);"
        "declarer.respond(gsm8k.task, EngineSettings(), limit=None, seed=0);"
        "declarer.evaluate(gsm8k, None);"
        "print(sorted({'torch', 'transformers', 'datasets', 'lm_eval', 'vllm'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


def test_the_digest_is_of_what_defines_the_task_wherever_it_lies(gsm8k, own_task, tmp_path):
    assert declared(own_task)["questions"] == declared(gsm8k)["questions"]
    (tmp_path / "tasks" / "other").mkdir()
    (tmp_path / "tasks" / "other" / "other.yaml").write_text("task: other\n")
    assert declared(own_task)["questions"] == declared(gsm8k)["questions"]
    (tmp_path / "tasks" / "gsm8k" / "helper.py").write_text("")
    assert declared(own_task)["questions"]["digest"] != declared(gsm8k)["questions"]["digest"]


def test_what_a_task_includes_from_elsewhere_counts(own_task, tmp_path):
    yaml = tmp_path / "tasks" / "gsm8k" / "gsm8k_chat.yaml"
    yaml.write_text("include: ../common.yaml\n" + yaml.read_text())
    digests = set()
    for text in ("tag: [a]\n", "tag: [b]\n"):
        (tmp_path / "tasks" / "common.yaml").write_text(text)
        digests.add(declared(own_task)["questions"]["digest"])
    assert len(digests) == 2


def test_the_data_is_declared_with_its_content(gsm8k, small_root):
    without, (with_content,) = declared(gsm8k)["data"], declared(gsm8k, small_root)["data"]
    assert without[0]["content"] is None
    assert len(with_content["content"]) == 64
    assert with_content["n"] == 12


def test_a_task_that_is_not_there_is_named_with_those_that_are():
    with pytest.raises(UserError, match=r"0 files in .* define the task 'gsm8k_chatt' .there are: gsm8k_chat, playgr"):
        find_task(LmEvalTask("gsm8k_chatt", metric="exact_match"))


def test_a_task_that_is_there_twice_is_refused(own_task, tmp_path):
    folder = tmp_path / "tasks" / "gsm8k"
    shutil.copy(folder / "gsm8k_chat.yaml", folder / "again.yaml")
    with pytest.raises(UserError, match=r"2 files in .* define the task 'gsm8k_chat'"):
        declared(own_task)


def test_broken_yaml_is_named(own_task, tmp_path):
    (tmp_path / "tasks" / "broken.yaml").write_text("task: [\n")
    with pytest.raises(UserError, match=r"cannot read the task file .*broken\.yaml"):
        declared(own_task)


def test_a_missing_task_folder_is_named():
    with pytest.raises(UserError, match="there is no task folder /nowhere"):
        find_task(LmEvalTask("x", metric="acc", include="/nowhere", data=(Hub("a/b"),)))


@pytest.mark.parametrize("named", ["rows.jsonl", "{test: rows.jsonl}", "{test: [./rows.jsonl]}"])
def test_data_beside_the_yaml_counts_and_must_be_there(tmp_path, named):
    folder = tmp_path / "tasks"
    folder.mkdir()
    (folder / "own.yaml").write_text(
        f"task: own\ndataset_path: json\ndataset_kwargs:\n  data_files: {named}\n", encoding="utf-8"
    )
    evaluator = Evaluator("own", "strict-1", LmEvalTask("own", metric="exact_match", include=str(folder)))
    with pytest.raises(UserError, match=r"the task own reads .*rows\.jsonl, which is not in the folder of its YAML"):
        declared(evaluator)
    digests = set()
    for text in ("1", "2"):
        (folder / "rows.jsonl").write_text(text)
        digests.add(declared(evaluator)["questions"]["digest"])
    assert len(digests) == 2


@dataclass(frozen=True)
class Marked(Scorer):
    """A scorer with a setting, and with files of the user's."""

    strict: bool
    grades: Files | None

    @property
    def data(self):
        return (self.grades,) if self.grades else ()

    def score(self, response, read, opponent):
        raise NotImplementedError


@dataclass(frozen=True)
class Asked(Questions):
    """Nothing is asked here."""

    def items(self, read):
        raise NotImplementedError

    def ask(self, item):
        raise NotImplementedError


def test_the_users_files_count_by_what_they_hold_and_not_by_where_they_lie(tmp_path):
    def scored(name, text, *, strict=True):
        path = tmp_path / name
        path.write_text(text)
        task = Benchmark(Asked(), Marked(strict, Files((str(path),))), "points")
        return Declarer("own 1.0", None, None).evaluate(Evaluator("own", "human-1", task), None).model_dump()

    grades = scored("grades.csv", "question_id,points\n1,2\n")
    assert scored("moved.csv", "question_id,points\n1,2\n") == grades
    assert scored("grades.csv", "question_id,points\n1,3\n") != grades
    assert scored("grades.csv", "question_id,points\n1,2\n", strict=False) != grades
    assert str(tmp_path) not in str(grades)
