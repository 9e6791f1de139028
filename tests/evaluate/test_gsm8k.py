"""GSM8K through our engine gives, token for token, what stock lm-eval gives on the same prompts."""

import json
import math

import pytest

from harness.canonical import file_digest
from harness.jobs import EngineSettings


@pytest.fixture(params=["own questions", "GSM8K"])
def questions(request, small_root):
    return small_root if request.param == "own questions" else request.getfixturevalue("mirror")


def stored_tokens(folder):
    return sorted(
        json.loads(line)["value"]["token_ids"] for line in (folder / "responses.jsonl").read_text().splitlines()
    )


def test_every_token_and_number_is_that_of_stock_lm_eval(run, stock, gsm8k, questions, tmp_path):
    outcome, samples = run(gsm8k, questions, limit=40)
    expected = stock(gsm8k, questions, limit=40)
    assert stored_tokens(tmp_path / "job") == sorted(expected.recorded.values())
    assert sum(map(len, expected.recorded.values())) > 25 * len(samples)
    by_filter = {(str(s["doc_id"]), s["filter"]): s for s in expected.samples}
    for sample in samples:
        for name in ("strict-match", "flexible-extract"):
            theirs = by_filter[sample["id"], name]
            assert sample["response"] == theirs["resps"][0][0]
            assert sample["extracted"][name] == theirs["filtered_resps"][0]
            assert sample["scores"][f"exact_match,{name}"] == theirs["exact_match"]
            assert sample["target"] == theirs["target"]
    for name, metric in outcome["result"]["metrics"].items():
        assert metric["value"] == expected.results[name]


def test_cut_prompts_are_counted_and_are_those_that_stock_lm_eval_cuts(run, stock, gsm8k, small_root, tmp_path):
    outcome, samples = run(gsm8k, small_root, settings=EngineSettings(name="hf", max_length=512 + 60))
    expected = stock(gsm8k, small_root, max_length=512 + 60)
    assert stored_tokens(tmp_path / "job") == sorted(expected.recorded.values())
    assert max(len(prompt) for prompt in expected.recorded) == 60
    cut = [sample for sample in samples if sample["prompt_cut"]]
    assert outcome["result"]["prompts_cut"] == outcome["result"]["outcomes"]["prompt_cut"] == len(cut) > 0
    assert all(sample["outcome"] == "prompt_cut" for sample in cut)


def test_the_result_adds_up(run, gsm8k, small_root, tmp_path):
    outcome, samples = run(gsm8k, small_root)
    result, measured = outcome["result"], outcome["measured"]
    assert [sample["id"] for sample in samples] == [str(n) for n in range(12)]
    assert (result["n_expected"], result["n_scored"], result["n_missing"]) == (12, 12, 0)
    assert sum(result["outcomes"].values()) == 12
    assert result["bos_count_max"] == 1
    assert result["samples_sha256"] == file_digest(tmp_path / "job" / "samples.jsonl")
    numbers = [sample["scores"]["exact_match,flexible-extract"] for sample in samples]
    assert math.isclose(result["score"], sum(numbers) / 12)
    assert set(result["metrics"]) == {"exact_match,flexible-extract", "exact_match,strict-match"}
    assert (measured["requests_asked"], measured["requests_stored"]) == (12, 0)
    assert result["outputs_truncated"] == sum(sample["finish"] == "length" for sample in samples)
    for sample in samples:
        found_nothing = sample["extracted"]["flexible-extract"] == "[invalid]"
        expected = "truncated_output" if sample["finish"] == "length" else "unparsed" if found_nothing else "ok"
        assert sample["outcome"] == expected
    assert "question" not in json.dumps(samples)


def test_a_second_attempt_asks_nothing_and_ends_in_the_same_result(run, gsm8k, small_root):
    first, _ = run(gsm8k, small_root)
    seen = []
    again, _ = run(gsm8k, small_root, progress=seen.append)
    assert again["result"] == first["result"]
    assert (again["measured"]["requests_asked"], again["measured"]["requests_stored"]) == (0, 12)
    assert (seen[-1].done, seen[-1].total, seen[-1].unit) == (12, 12, "item")
