"""Each task of `sft_eval` through our adapter gives what stock lm-eval gives, on the same model and made-up rows."""

import math

import pytest

from harness.engines.protocol import Generation
from harness.evaluate.declare import Declarer
from harness.evaluate.lmeval import TaskBenchmark
from harness.jobs import EngineSettings

NAMES = (
    "mmlu", "piqa", "openbookqa", "hellaswag", "lambada", "lambada_multilingual", "gpt3_translation_benchmarks",
    "wsc273", "winogrande", "ai2_arc", "coqa", "gsm8k_cot", "bbh_cot_fewshot", "truthfulqa_mc2", "toxigen",
    "hendrycks_ethics",
)  # fmt: skip
BY_SIZE = {"mmlu", "bbh_cot_fewshot"}
"""What lm-eval itself averages, by the tasks' sizes."""


@pytest.fixture(scope="module")
def hflm(model):
    from lm_eval.models.huggingface import HFLM

    return HFLM(pretrained=str(model / "model"), device="cpu", batch_size=8, dtype="float32")


@pytest.fixture
def stock(hflm, made_up, monkeypatch):
    """lm-eval's own evaluation of a benchmark."""
    import datasets
    from lm_eval import simple_evaluate, tasks
    from lm_eval.tasks import TaskManager

    def load_dataset(path, name=None, **_):
        splits = made_up[path, name]
        return datasets.DatasetDict({split: datasets.Dataset.from_list(rows) for split, rows in splits.items()})

    def run(task, rows=None, limit=None):
        with monkeypatch.context() as patched:
            patched.setattr(datasets, "load_dataset", load_dataset if rows is None else lambda *_, **__: rows)
            return simple_evaluate(
                model=hflm,
                tasks=[task.task],
                task_manager=TaskManager(include_path=f"{tasks.__path__[0]}/{task.stock}", include_defaults=False),
                num_fewshot=task.shots,
                apply_chat_template=task.chat,
                fewshot_as_multiturn=task.chat,
                limit=limit,
                bootstrap_iters=0,
            )

    return run


@pytest.fixture
def ours(run, made_up_mirror, model):
    def evaluate(evaluator, root=made_up_mirror, limit=None):
        return run(evaluator, root, model=model, limit=limit, runtime={"batch_size": 8})

    return evaluate


def the_same(found, expected):
    return math.isclose(found, expected, rel_tol=1e-4, abs_tol=1e-9)


def check_sample(found, theirs):
    """Answers, what filters made of them, targets and scores."""
    if isinstance(theirs["resps"][0][0], str):
        assert found["response"] == theirs["resps"][0][0]
        assert found["extracted"][theirs["filter"]] == theirs["filtered_resps"][0]
    else:
        for (logprob, greedy), ((their_logprob, their_greedy),) in zip(found["response"], theirs["resps"], strict=True):
            assert logprob == pytest.approx(float(their_logprob), abs=1e-3)
            assert greedy == (str(their_greedy) == "True")
    assert str(found["target"]) == str(theirs["target"])
    for metric in theirs["metrics"]:
        if metric not in ("perplexity", "bleu", "chrf", "ter"):
            assert the_same(found["scores"][f"{metric},{theirs['filter']}"], theirs[metric])


def check_numbers(name, result, stock):
    """Every number of every task, and their average: lm-eval's where it has one, else each task counting the same."""
    tasks = list(stock["samples"])
    sizes = [stock["results"][task]["sample_len"] if name in BY_SIZE else 1 for task in tasks]
    found = {metric: number["value"] for metric, number in result["metrics"].items()}
    for metric in stock["results"][tasks[0]]:
        if "," in metric and "stderr" not in metric:
            theirs = [stock["results"][task][metric] for task in tasks]
            average = sum(number * size for number, size in zip(theirs, sizes, strict=True)) / sum(sizes)
            assert the_same(found[metric], average), metric
            if len(tasks) > 1:
                assert all(the_same(found[f"{task}/{metric}"], n) for task, n in zip(tasks, theirs, strict=True))
            if metric in stock["results"].get(name, {}):
                assert the_same(found[metric], stock["results"][name][metric])


CASES = [
    *((name, False) for name in NAMES),
    *((name, True) for name in ("piqa", "wsc273", "coqa")),
    *(pytest.param(name, True, marks=pytest.mark.soak) for name in NAMES if name not in ("piqa", "wsc273", "coqa")),
]


@pytest.mark.parametrize(("name", "chat"), CASES)
def test_it_is_scored_as_stock_lm_eval_scores_it(name, chat, ours, stock, evaluators):
    evaluator = evaluators(chat=chat)[name]
    outcome, samples = ours(evaluator)
    result, expected = outcome["result"], stock(evaluator.task)
    grouped = len(expected["samples"]) > 1
    by_id = {sample["id"]: sample for sample in samples}
    pairs = [
        (by_id[f"{task}/{sample['doc_id']}" if grouped else str(sample["doc_id"])], sample)
        for task, of in expected["samples"].items()
        for sample in of
    ]
    for found, theirs in pairs:
        check_sample(found, theirs)
    assert {found["id"] for found, _ in pairs} == set(by_id)
    assert result["n_scored"] == result["n_expected"] == len(samples)
    check_numbers(name, result, expected)

    score = evaluator.task.score
    weights = [sample.get("weights", {}).get(score, 1) for sample in samples]
    mean = sum(s["scores"][score] * weight for s, weight in zip(samples, weights, strict=True)) / sum(weights)
    assert result["score"] == result["metrics"][score]["value"] == pytest.approx(mean)
    if name == "gpt3_translation_benchmarks":
        assert result["score"] == pytest.approx(result["metrics"]["ter,none"]["value"] / 100)


@pytest.mark.parametrize(
    "limit", [8, pytest.param(None, marks=[pytest.mark.soak, pytest.mark.timeout(4 * 3600)], id="all")]
)
def test_worked_gsm8k_on_its_real_questions(limit, ours, stock, evaluators, mirror):
    import datasets

    evaluator = evaluators()["gsm8k_cot"]
    outcome, samples = ours(evaluator, mirror, limit)
    rows = datasets.load_dataset("json", data_files={"test": str(mirror / "openai/gsm8k/test.jsonl")})
    expected = stock(evaluator.task, rows, limit)
    theirs = {(sample["doc_id"], sample["filter"]): sample for sample in expected["samples"]["gsm8k_cot"]}
    assert len(samples) == limit or len(samples) == 1319
    for n, sample in enumerate(samples):
        for name in ("strict-match", "flexible-extract"):
            assert sample["response"] == theirs[n, name]["resps"][0][0]
            assert sample["extracted"][name] == theirs[n, name]["filtered_resps"][0]
            assert sample["scores"][f"exact_match,{name}"] == theirs[n, name]["exact_match"]
    check_numbers("gsm8k_cot", outcome["result"], expected)


def test_the_protocols_differ_in_the_direction_of_translation_alone(evaluators):
    official, strict, chat = evaluators(), evaluators(protocol="strict"), evaluators(chat=True)
    assert tuple(official) == tuple(strict) == NAMES
    assert [name for name in NAMES if not strict[name].higher_is_better] == ["gpt3_translation_benchmarks"]
    assert all(evaluator.higher_is_better for evaluator in official.values())
    assert all(official[name].task == strict[name].task for name in NAMES)
    protocols = [{evaluator.protocol for evaluator in of.values()} for of in (official, strict, chat)]
    assert protocols == [{"official-1"}, {"strict-1"}, {"official-chat-1"}]
    assert all(evaluator.task.chat for evaluator in chat.values())


RIGHT = {
    "gsm8k_cot": ("exact_match,strict-match", lambda target: f"So 2 + 3 is many. The answer is {target}."),
    "bbh_cot_fewshot": ("exact_match,get-answer", lambda target: f"Let us see. So the answer is {target}."),
    "coqa": ("f1,none", lambda target: f" {target[0]}\nand more"),
}


@pytest.mark.parametrize("name", RIGHT)
def test_right_answers_are_right_and_others_are_not(name, evaluators, made_up_mirror):
    task = evaluators()[name].task
    data = Declarer("sft_eval 1.0", made_up_mirror, None).respond(task, EngineSettings(), limit=2, seed=0).data
    benchmark = TaskBenchmark(task, data, made_up_mirror, limit=2)
    score, answer = RIGHT[name]
    for question in benchmark.questions():
        text = answer(benchmark.target(question))
        right, wrong = (benchmark.score(question, [Generation(said, (), "stop", 0)]) for said in (text, "None of it"))
        assert right.values[score] > 0 == wrong.values[score]
        assert not right.unparsed
        assert wrong.unparsed == (name != "coqa")


def test_a_good_translation_needs_no_edits(evaluators, made_up_mirror):
    task = evaluators()["gpt3_translation_benchmarks"].task
    data = Declarer("sft_eval 1.0", made_up_mirror, None).respond(task, EngineSettings(), limit=None, seed=0).data
    benchmark = TaskBenchmark(task, data, made_up_mirror, limit=None)
    questions = benchmark.questions()
    perfect = [benchmark.score(q, [Generation(benchmark.target(q), (), "stop", 0)]) for q in questions]
    assert {scores.values["ter/100,none"] for scores in perfect} == {0}
    assert benchmark.metrics(list(zip(questions, perfect, strict=True)))["bleu,none"]["value"] == pytest.approx(100)
    silent = [benchmark.score(question, [Generation("", (), "stop", 0)]) for question in questions]
    assert {scores.values["ter/100,none"] for scores in silent} == {1}
    by_task = {question.task: 0 for question in questions}
    for question, scores in zip(questions, silent, strict=True):
        by_task[question.task] += scores.weights["ter/100,none"]
    assert len(by_task) == 6
    assert all(weight == pytest.approx(1) for weight in by_task.values())
