import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from harness.api import LmEvalTask
from harness.engines.pool import Engines
from harness.errors import Failure, UserError

ASK = """\
output_type: generate_until
doc_to_text: "{{question}}"
doc_to_target: "{{answer}}"
generation_kwargs:
  until: ["."]
  max_gen_toks: 16
"""
ROWS = [{"question": f"What is {n} + {n}?", "answer": str(n)} for n in range(10)]


def test_killed_in_the_middle_it_asks_only_for_what_is_missing(run, gsm8k, small_root, chat_models, tmp_path):
    pool = Engines()
    whole, _ = run(gsm8k, small_root, pool=pool, runtime={"batch_size": 2})
    folder = tmp_path / "killed"
    folder.mkdir()
    command = [sys.executable, str(Path(__file__).with_name("run_job.py")), chat_models["a"], small_root, folder]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, env={**os.environ, "OMP_NUM_THREADS": "1"})
    responses = folder / "responses.jsonl"
    while process.poll() is None and not (responses.exists() and responses.read_bytes().count(b"\n") >= 4):
        time.sleep(0.002)
    process.send_signal(signal.SIGKILL)
    _, errors = process.communicate()
    assert process.returncode == -signal.SIGKILL, errors.decode()[-2000:]
    stored = responses.read_bytes().count(b"\n")
    assert 4 <= stored < 12
    assert not (folder / "samples.jsonl").exists()
    resumed, _ = run(gsm8k, small_root, folder=folder, pool=pool, runtime={"batch_size": 2})
    measured = resumed["measured"]
    assert measured["requests_stored"] in (stored, stored - stored % 2)
    assert measured["requests_asked"] + measured["requests_stored"] == 12
    assert resumed["result"] == whole["result"]


def test_sampled_answers_come_again_after_a_crash(run, write_task, tmp_path):
    text = ASK.replace("  until", "  do_sample: true\n  temperature: 0.9\n  top_p: 0.9\n  until") + "repeats: 2\n"
    task = write_task("sampled", text, ROWS)
    whole, samples = run(task, None)
    assert all(len(sample["response"]) == 2 for sample in samples)
    assert any(len(set(sample["response"])) == 2 for sample in samples)
    responses = tmp_path / "job" / "responses.jsonl"
    lines = responses.read_text().splitlines(keepends=True)
    assert len(lines) == 20
    torn = tmp_path / "torn"
    torn.mkdir()
    lots = "".join(line.replace(f'"left":{19 - n}', '"left":0') for n, line in enumerate(lines[:7]))
    (torn / "responses.jsonl").write_text(lots + lines[7][:30])
    resumed, _ = run(task, None, folder=torn)
    assert (resumed["measured"]["requests_stored"], resumed["measured"]["requests_asked"]) == (7, 13)
    assert resumed["result"] == whole["result"]
    other, _ = run(task, None, folder=_made(tmp_path / "other"), seed=1)
    assert other["result"]["samples_sha256"] != whole["result"]["samples_sha256"]


def test_a_scorer_that_raises_costs_one_sample(run, write_task):
    code = """
def score(doc, results):
    if doc["answer"] == "3":
        raise KeyError("three")
    return {"length": len(results[0])}
"""
    text = ASK + "process_results: !function functions.score\nmetric_list:\n- metric: length\n  aggregation: mean\n"
    outcome, samples = run(write_task("failing", text, ROWS, code=code, metric="length"), None)
    result = outcome["result"]
    assert (result["n_expected"], result["n_scored"], result["n_missing"]) == (10, 9, 1)
    assert result["outcomes"]["scorer_error"] == 1
    assert samples[3]["outcome"] == "scorer_error"
    assert samples[3]["error"] == "KeyError: 'three'"
    assert samples[3]["scores"] == {}
    assert result["metrics"]["length,none"]["n"] == 9
    others = [len(sample["response"]) for sample in samples if sample["id"] != "3"]
    assert result["score"] == pytest.approx(sum(others) / 9)


def test_a_scorer_that_always_raises_fails_the_job_in_words(run, write_task, tmp_path):
    text = ASK + "process_results: !function functions.score\nmetric_list:\n- metric: length\n  aggregation: mean\n"
    code = "def score(doc, results):\n    raise RuntimeError('broken')\n"
    with pytest.raises(Failure, match="the scorer failed on every sample: RuntimeError: broken"):
        run(write_task("broken", text, ROWS, code=code, metric="length"), None)
    assert (tmp_path / "job" / "responses.jsonl").read_text().count("\n") == 10


def test_stop_texts_end_answers_and_are_no_part_of_them(run, write_task):
    _, samples = run(write_task("stopping", ASK.replace('["."]', '["e", "o", "\\n"]'), ROWS), None)
    assert {(sample["finish"], sample["outcome"]) for sample in samples} == {
        ("stop", "ok"),
        ("length", "truncated_output"),
    }
    assert not any(letter in sample["response"] for sample in samples for letter in "eo\n")


def test_few_shot_examples_and_the_bos_of_the_tokenizer(run, write_task, stock, tmp_path):
    text = (
        ASK.replace('"{{answer}}"', '" {{answer}}"')
        + "fewshot_config:\n  samples:\n"
        + "".join(f"  - {{question: {q}, answer: '{a}'}}\n" for q, a in (("one", 1), ("two", 2)))
    )
    task = write_task("shots", text, ROWS)
    zero, _ = run(task, None)
    two = replace(task, task=replace(task.task, shots=2))
    outcome, _ = run(two, None, folder=_made(tmp_path / "two"))
    assert outcome["result"]["prompt_tokens"] > zero["result"]["prompt_tokens"]
    assert outcome["result"]["bos_count_max"] == zero["result"]["bos_count_max"] == 1
    assert outcome["result"]["template_digest"] is None
    assert outcome["result"]["prompt_tokens"] == sum(map(len, stock(two, None).recorded))


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"metric": "acc"}, "the task wrong has no acc,none"),
        ({"filter": "loose"}, "the task wrong has no filter 'loose' .it has none"),
    ],
)
def test_a_number_that_the_task_does_not_make_is_named(run, write_task, change, error):
    task = write_task("wrong", ASK, ROWS[:2])
    with pytest.raises(UserError, match=error):
        run(replace(task, task=replace(task.task, **change)), None)


def test_generation_settings_that_no_engine_shares_are_refused(run, write_task):
    with pytest.raises(UserError, match="the task beams sets num_beams for generation"):
        run(write_task("beams", ASK + "  num_beams: 4\n", ROWS[:2]), None)


def test_a_task_that_no_engine_answers_is_refused(run, write_task):
    text = 'output_type: loglikelihood_rolling\ndoc_to_text: ""\ndoc_to_target: "{{question}}"\n'
    with pytest.raises(UserError, match="asks for loglikelihood_rolling"):
        run(write_task("rolling", text, ROWS[:2], metric="word_perplexity"), None)


def test_a_limit_takes_the_first_items(run, write_task):
    outcome, samples = run(write_task("limited", ASK, ROWS), None, limit=3)
    assert [sample["id"] for sample in samples] == ["0", "1", "2"]
    assert outcome["result"]["n_expected"] == 3


def test_playground_questions_are_answered_and_scored(run):
    import importlib

    from harness.api import Arm

    for evaluator in importlib.import_module("harness.plugins.playground").evaluator(Arm("sft", ("sft",))):
        assert isinstance(evaluator.task, LmEvalTask)
        outcome, samples = run(evaluator, None, limit=4)
        assert outcome["result"]["n_scored"] == 4
        assert [set(sample["scores"]) for sample in samples] == [{"exact_match,none"}] * 4
        for sample in samples:
            right = sample["response"].strip() == sample["target"]
            assert sample["scores"]["exact_match,none"] == float(right)


def _made(folder):
    folder.mkdir()
    return folder
