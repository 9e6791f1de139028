"""`harness suites`: what is declared together, and what it needs."""

import json

import pytest

from harness.cli.suites import show_suites
from harness.suite import shipped_suites


def test_every_suite_is_listed(capsys):
    show_suites(None, None, as_json=False)
    out = capsys.readouterr().out
    assert [name for name in shipped_suites() if name not in out] == []


def test_a_suite_is_shown_with_its_benchmarks(capsys, tmp_path):
    show_suites("math", tmp_path, as_json=False)
    out = capsys.readouterr().out
    assert "zero-shot-chat-1" in out
    assert "not in the mirror: openai/gsm8k" in out


def test_a_long_suite_has_a_line_for_each_benchmark_on_a_narrow_terminal(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    show_suites("sft_eval", None, as_json=False)
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= 80
    firsts = [line.split()[0] for line in lines if line.strip()]
    assert {"gpt3_translation_benchmarks", "lambada_multilingual", "humaneval_t01"} <= set(firsts)
    assert firsts.index("humaneval_t01") - firsts.index("benchmark") == 17


def test_what_the_mirror_holds_is_told(capsys, mirror):
    show_suites("math", mirror, as_json=True)
    (suite,) = json.loads(capsys.readouterr().out)
    found = {one["benchmark"]: one["data"] for one in suite["benchmarks"]}
    assert found["gsm8k"] == {"openai/gsm8k": "in the mirror"}


def test_items_are_counted_where_the_data_is_there(capsys, mirror):
    show_suites("math", mirror, as_json=True)
    (suite,) = json.loads(capsys.readouterr().out)
    assert {one["benchmark"]: one["items"] for one in suite["benchmarks"]}["hungarian_exam"] == 33


def test_an_unknown_suite_is_refused(refused):
    assert refused(show_suites, "maths", None, as_json=False) == (
        "there is no suite maths (give a YAML file; did you mean 'math'?)"
    )


@pytest.mark.parametrize("name", shipped_suites())
def test_the_json_says_how_every_benchmark_is_scored(capsys, name):
    show_suites(name, None, as_json=True)
    (suite,) = json.loads(capsys.readouterr().out)
    assert all(one["protocol"] and one["score"] for one in suite["benchmarks"])
