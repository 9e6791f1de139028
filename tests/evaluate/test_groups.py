"""Groups and tags of tasks as one benchmark: ids, weights, and the numbers that are no means over samples."""

import json

import pytest

from harness.api import Evaluator, LmEvalTask
from harness.engines.protocol import Generation
from harness.errors import UserError
from harness.evaluate.lmeval import TaskBenchmark

GENERATE = """\
output_type: generate_until
doc_to_text: "{{question}}"
doc_to_target: "{{answer}}"
generation_kwargs: {until: ["."], max_gen_toks: 12}
"""
SIZES = {"small": 2, "large": 6}


@pytest.fixture
def group(tmp_path):
    """Write two tasks of 2 and 6 questions and what holds them; gives the evaluator for it."""

    def write(text, *, metric, code="", holder="tag: pair\n", name="pair", folder="group"):
        folder = tmp_path / folder
        folder.mkdir()
        (folder / "functions.py").write_text(code)
        (folder / "common_yaml").write_text(f"{holder if 'tag' in holder else ''}{text}")
        if "tag" not in holder:
            (folder / "group.yaml").write_text(holder)
        for task, size in SIZES.items():
            rows = [{"question": f"{n} {task} apples and", "answer": f"{n} eggs in {n} bags"} for n in range(size)]
            (folder / f"{task}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
            data = f"dataset_path: json\ndataset_kwargs:\n  data_files:\n    test: {task}.jsonl\n"
            (folder / f"{task}.yaml").write_text(f"include: common_yaml\ntask: {task}\ntest_split: test\n{data}")
        task = LmEvalTask(name, metric=metric, include=str(folder), chat=False)
        return Evaluator(name, "own-1", task)

    return write


CHOICE = """\
output_type: multiple_choice
doc_to_text: "{{question}}"
doc_to_choice: [" eggs", " flags"]
doc_to_target: "{{ 1 if question[0] | int else 0 }}"
metric_list:
- {metric: acc, aggregation: mean}
"""
BY_SIZE = "group: both\ntask: [small, large]\naggregate_metric_list:\n- {metric: acc, weight_by_size: true}\n"
EVENLY = BY_SIZE.replace("true", "false")


@pytest.mark.parametrize(("holder", "by_size"), [("tag: pair\n", False), (BY_SIZE, True), (EVENLY, False)])
def test_tasks_count_by_their_size_where_the_group_says_so(run, group, holder, by_size):
    name, order = ("pair", ("large", "small")) if "tag" in holder else ("both", ("small", "large"))
    outcome, samples = run(group(CHOICE, metric="acc", holder=holder, name=name), None)
    assert [sample["id"] for sample in samples] == [f"{task}/{n}" for task in order for n in range(SIZES[task])]
    parts = {
        task: [sample["scores"]["acc,none"] for sample in samples if sample["id"].startswith(task)] for task in SIZES
    }
    means = {task: sum(of) / len(of) for task, of in parts.items()}
    assert means["small"] != means["large"]
    metrics = outcome["result"]["metrics"]
    assert {task: metrics[f"{task}/acc,none"]["value"] for task in SIZES} == pytest.approx(means)
    expected = sum(map(sum, parts.values())) / 8 if by_size else sum(means.values()) / 2
    assert outcome["result"]["score"] == metrics["acc,none"]["value"] == pytest.approx(expected)
    assert [sample.get("weights") for sample in samples] == [
        None if by_size else {"acc,none": pytest.approx(1 / SIZES[sample["id"].split("/")[0]])} for sample in samples
    ]


def test_a_limit_is_one_for_every_task(run, group):
    outcome, samples = run(group(CHOICE, metric="acc"), None, limit=1)
    assert [sample["id"] for sample in samples] == ["large/0", "small/0"]
    assert all("weights" not in sample for sample in samples)
    assert outcome["result"]["n_expected"] == 2


TRANSLATION = GENERATE + "metric_list:\n- {metric: ter}\n- {metric: bleu}\n"


def test_edit_rates_are_those_of_the_corpus(group):
    from sacrebleu import corpus_bleu, corpus_ter

    task = group(TRANSLATION, metric="ter/100").task
    benchmark = TaskBenchmark(task, (), None, limit=None)
    said, targets, scored = {}, {}, []
    for question in benchmark.questions():
        targets.setdefault(question.task, []).append(benchmark.target(question))
        text = targets[question.task][-1].replace("bags", "") + " too" * len(targets[question.task])
        said.setdefault(question.task, []).append(text)
        scored.append((question, benchmark.score(question, [Generation(text, (), "stop", 0)])))
    metrics = benchmark.metrics(scored)
    assert set(scored[0][1].values) == {"ter,none", "ter/100,none"}
    for name, corpus in (("ter,none", corpus_ter), ("bleu,none", corpus_bleu)):
        parts = {task: corpus(said[task], [targets[task]]).score for task in SIZES}
        assert parts["small"] != parts["large"]
        assert {task: metrics[f"{task}/{name}"]["value"] for task in SIZES} == pytest.approx(parts)
        assert metrics[name] == {"value": pytest.approx(sum(parts.values()) / 2), "n": 8}
    assert metrics["ter/100,none"]["value"] == pytest.approx(metrics["ter,none"]["value"] / 100)


def test_a_reference_without_words_costs_its_sample(run, group):
    text = TRANSLATION.replace('"{{answer}}"', "\"{{ '' if question[0] == '1' else answer }}\"")
    outcome, samples = run(group(text, metric="ter/100"), None)
    missing = {sample["id"]: sample.get("error") for sample in samples if sample["outcome"] == "scorer_error"}
    assert missing == dict.fromkeys(
        ("large/1", "small/1"), "ValueError: the reference has no words, and so no edit rate"
    )
    assert outcome["result"]["n_missing"] == 2


def test_a_number_that_is_no_mean_cannot_be_the_score(run, group):
    with pytest.raises(UserError, match=r"the task pair has no bleu,none .its metrics are ter,none, ter/100,none"):
        run(group(TRANSLATION, metric="bleu"), None)


SCORED = """\
process_results: !function functions.score
metric_list:
- {metric: acc, aggregation: mean}
- {metric: odd, aggregation: !function functions.odd}
"""


def test_an_aggregation_that_fails_costs_its_own_number(run, group):
    code = (
        "def score(doc, results):\n    return {'acc': len(results[0]) % 2, 'odd': results[0]}\n\n"
        "def odd(values):\n    raise ZeroDivisionError('odd')\n"
    )
    outcome, _ = run(group(GENERATE + SCORED, metric="acc", code=code), None)
    assert outcome["result"]["metrics"]["odd,none"] == {"value": None, "n": 8, "error": "ZeroDivisionError: odd"}
    assert outcome["result"]["n_scored"] == 8


def test_a_number_that_is_none_costs_its_sample(run, group):
    code = (
        "def score(doc, results):\n    return {'acc': float('nan') if doc['question'][0] == '0' else 1.0}\n\n"
        "def odd(values):\n    return 1.0\n"
    )
    outcome, samples = run(group(GENERATE + SCORED, metric="acc", code=code), None)
    assert (outcome["result"]["score"], outcome["result"]["n_missing"]) == (1, 2)
    assert samples[0]["error"] == "ValueError: acc is nan"


def test_a_task_whose_data_do_not_fit_is_named(run, group):
    with pytest.raises(UserError, match=r"lm-eval cannot make the questions of pair: KeyError: 'dev' .check that its"):
        run(group(CHOICE + "fewshot_split: dev\n", metric="acc"), None)
    broken = CHOICE.replace("{{question}}", "{{query}}")
    with pytest.raises(UserError, match=r"questions of \w+: UndefinedError: 'query' is undefined"):
        run(group(broken, metric="acc", folder="other"), None)
