"""Jobs to run, data to run them on, and lm-eval's own way to do the same."""

import importlib
import json
from pathlib import Path

import pytest

from harness.api import Arm, Evaluator, LmEvalTask
from harness.context import Context
from harness.engines.pool import Engines
from harness.evaluate.declare import Declarer
from harness.evaluate.respond import Assignment, respond
from harness.evaluate.score import evaluate
from harness.jobs import EngineSettings

WORDS = ("apples", "books", "coins", "drums", "eggs", "flags")


@pytest.fixture(scope="session")
def small_root(tmp_path_factory):
    """A mirror with a dozen word problems of our own in the place and shape of GSM8K's test questions."""
    folder = tmp_path_factory.mktemp("mirror")
    rows = [
        {
            "question": f"Ben has {n + 2} {word}. He buys {n} times as many. How many {word} does he have now?",
            "answer": f"He buys {n * (n + 2)}.\nSo he has {(n + 1) * (n + 2)} {word}.\n#### {(n + 1) * (n + 2)}",
        }
        for n, word in enumerate(WORDS * 2)
    ]
    (folder / "openai/gsm8k").mkdir(parents=True)
    (folder / "openai/gsm8k/test.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


@pytest.fixture(scope="session")
def gsm8k():
    (found,) = importlib.import_module("harness.plugins.gsm8k").evaluator(Arm("sft", ("sft",)))
    return found


@pytest.fixture(scope="session")
def engines():
    pool = Engines()
    yield pool
    pool.close()


@pytest.fixture
def run(engines, chat_models, tmp_path):
    """Run a benchmark, on model `a` unless told otherwise: `run(evaluator, root)` gives the outcome and the samples."""

    def run(
        evaluator,
        root,
        *,
        folder=None,
        limit=None,
        settings=None,
        pool=engines,
        runtime=(),
        seed=0,
        progress=None,
        model=chat_models["a"],
        judging=None,
    ):
        settings = settings or EngineSettings(name="hf")
        folder = folder or tmp_path / "job"
        folder.mkdir(exist_ok=True)
        runtime = {"data_root": root, "store": str(tmp_path / "store"), **dict(runtime)}
        parents = {"model": model, "answers": folder}
        context = Context(folder, parents, runtime, progress or (lambda _: None))
        declarer = Declarer("test 1.0", root, None)
        asked = declarer.respond(evaluator.task, settings, limit=limit, seed=seed)
        ((_, said),) = respond([Assignment(asked, evaluator.task, context)], pool)
        manifest = {"declared": asked.model_dump(mode="json"), "result": said["result"]}
        (folder / "manifest.json").write_text(json.dumps(manifest))
        judge = judging and judging.settings().model_dump(mode="json")
        scored = evaluate(declarer.evaluate(evaluator, judge), evaluator, judging, context)
        samples = [json.loads(line) for line in (folder / "samples.jsonl").read_bytes().splitlines()]
        return {"result": scored["result"], "measured": said["measured"], "scoring": scored["measured"]}, samples

    return run


@pytest.fixture
def write_task(tmp_path):
    """Write a task folder of one's own; gives the evaluator for it."""

    def write(name, text, rows, *, code="", metric="exact_match", chat=False, **options):
        folder = tmp_path / "tasks" / name
        folder.mkdir(parents=True)
        (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        data = "dataset_path: json\ndataset_kwargs:\n  data_files:\n    test: rows.jsonl\n"
        (folder / f"{name}.yaml").write_text(f"task: {name}\ntest_split: test\n{data}{text}")
        if code:
            (folder / "functions.py").write_text(code)
        task = LmEvalTask(name, metric=metric, include=str(tmp_path / "tasks"), chat=chat, **options)
        return Evaluator(name, "own-1", task)

    return write


class Stock:
    """lm-eval's own evaluation of the same task and model, and the ids it fed to the model and got back."""

    def __init__(self, evaluator, root, model_dir, *, limit=None, max_length=None):
        from lm_eval import simple_evaluate
        from lm_eval.models.huggingface import HFLM
        from lm_eval.tasks import TaskManager

        from harness.evaluate.taskdata import declared_data
        from harness.evaluate.tasks import find_task

        recorded = self.recorded = {}

        class Recording(HFLM):
            def _model_generate(self, context, max_length, stop, **options):
                out = super()._model_generate(context, max_length, stop, **options)
                recorded[tuple(context[0].tolist())] = out[0, context.shape[1] :].tolist()
                return out

        model = Recording(pretrained=str(model_dir), device="cpu", batch_size=1, dtype="float32", max_length=max_length)
        task = evaluator.task
        declarer = Declarer("test 1.0", root, None)
        declared = declarer.respond(task, EngineSettings(), limit=limit, seed=0).data
        with declared_data(task, declared, Path(root) if root else None):
            manager = TaskManager(include_path=[str(f) for f in find_task(task).folders], include_defaults=False)
            outcome = simple_evaluate(
                model=model,
                tasks=[task.task],
                task_manager=manager,
                limit=limit,
                num_fewshot=task.shots,
                apply_chat_template=task.chat,
                fewshot_as_multiturn=task.chat,
                bootstrap_iters=0,
            )
        self.results = outcome["results"][task.task]
        self.samples = outcome["samples"][task.task]


@pytest.fixture
def stock(chat_models):
    def run(evaluator, root, **options):
        return Stock(evaluator, root, chat_models["a"] / "model", **options)

    return run
