from harness.api import Hub
from harness.data.needs import needed


def ids(name):
    return [hub.id for hub in needed(name)]


def test_an_id_needs_itself():
    assert needed("org/name@v2:a.json,b.json") == (Hub("org/name", ("a.json", "b.json"), "v2"),)


def test_a_plug_in_needs_its_data_and_what_its_benchmarks_read():
    test, train = needed("gsm8k")
    assert (train.files, test.files) == (("main/train-00000-of-00001.parquet",), ("main/test-00000-of-00001.parquet",))
    assert ids("code_alpaca:code_alpaca") == ["sahil2801/CodeAlpaca"]
    assert ids("playground") == []
    assert ids("im") == []


def test_a_recipe_needs_its_data_and_benchmarks():
    assert ids("gsm8k-mini") == ["openai/gsm8k", "sahil2801/CodeAlpaca", "alpagasus/dolly_3k", "openai/gsm8k"]


PLUGIN = """
from dataclasses import dataclass
from harness.api import Benchmark, Evaluator, Files, Hub, LmEvalTask, Plugin, Questions, Scorer, hookimpl

PLUGIN = Plugin(name="own", version="1.0", summary="mine")

@dataclass(frozen=True)
class Asks(Questions):
    @property
    def data(self):
        return (Hub("org/questions", ("q.jsonl",)),)

    def items(self, read):
        return []

    def ask(self, item):
        yield []

@dataclass(frozen=True)
class Scores(Scorer):
    @property
    def data(self):
        return (Hub("org/references", ("r.jsonl",)), Files(("mine.jsonl",)))

    def score(self, response, read, opponent):
        yield []

@hookimpl
def evaluator(arm):
    task = LmEvalTask("t", metric="m", data=(Hub("org/task", ("t.jsonl",)),))
    return [
        Evaluator("asked", "own-1", task=Benchmark(Asks(), Scores(), "m")),
        Evaluator("seldom", "own-1", task=task, optional=True),
    ]
"""


def test_a_benchmark_needs_what_asking_and_scoring_read_and_optional_ones_are_named(tmp_path, refused):
    file = tmp_path / "own.py"
    file.write_text(PLUGIN)
    assert ids(str(file)) == ["org/questions", "org/references"]
    assert ids(f"{file}:seldom") == ["org/task"]
    assert "offers no 'often' (there are: asked, seldom)" in refused(needed, f"{file}:often")


def test_a_suite_needs_what_its_benchmarks_read(tmp_path):
    assert set(ids("math")) == {"openai/gsm8k", "keirp/hungarian_national_hs_finals_exam"}
    own = tmp_path / "own.yaml"
    own.write_text("{name: own, version: 1, summary: One., benchmarks: ['hungarian_exam:hungarian_exam']}")
    assert ids(str(own)) == ["keirp/hungarian_national_hs_finals_exam"]


def test_an_unknown_name_is_suggested_another(refused):
    assert "did you mean 'gsm8k'?" in refused(needed, "gsm9k")
