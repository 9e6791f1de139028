"""Tasks that score choices: log-likelihoods and numbers are those of stock lm-eval."""

import pytest

ROWS = [
    {"question": question, "choices": choices, "label": n % len(choices)}
    for n, (question, choices) in enumerate(
        [
            ("The apple fell from the", ["tree", "moon", "sea floor"]),
            ("Two and two are ", ["four", "five"]),
            ("After Monday comes", ["Tuesday", "Friday", "noon"]),
            ("Water is", ["wet", "a kind of bread", "red", "1"]),
            ("", ["Nothing asked", "nothing said"]),
            ("A dog can\n", ["bark", "read the papers every day"]),
        ]
    )
]
TASK = """\
output_type: multiple_choice
doc_to_text: "{{question}}"
doc_to_choice: choices
doc_to_target: label
metric_list:
- metric: acc
  aggregation: mean
- metric: acc_norm
  aggregation: mean
"""


@pytest.mark.parametrize("chat", [False, True])
def test_choices_are_scored_as_stock_lm_eval_scores_them(run, stock, write_task, chat):
    rows = [row for row in ROWS if row["question"] or not chat]
    task = write_task("choices", TASK, rows, metric="acc_norm", chat=chat)
    outcome, samples = run(task, None)
    expected = stock(task, None)
    assert len(samples) == len(expected.samples) == len(rows)
    for sample, theirs in zip(samples, expected.samples, strict=True):
        assert sample["finish"] is None
        assert len(sample["response"]) == len(rows[int(sample["id"])]["choices"])
        for (logprob, greedy), ((their_logprob, their_greedy),) in zip(
            sample["response"], theirs["resps"], strict=True
        ):
            assert logprob == pytest.approx(float(their_logprob), abs=1e-4)
            assert greedy is (str(their_greedy) == "True")
        assert sample["scores"] == {"acc,none": theirs["acc"], "acc_norm,none": theirs["acc_norm"]}
    for name, metric in outcome["result"]["metrics"].items():
        assert metric["value"] == expected.results[name]
    assert outcome["result"]["score"] == expected.results["acc_norm,none"]
    assert outcome["result"]["outcomes"]["ok"] == len(rows)
    assert outcome["result"]["bos_count_max"] == 1


def test_a_second_attempt_scores_the_same(run, write_task):
    task = write_task("choices", TASK, ROWS, metric="acc")
    first, _ = run(task, None)
    again, _ = run(task, None)
    assert again["result"] == first["result"]
    assert again["measured"]["requests_asked"] == 0


def test_single_continuations(run, stock, write_task):
    text = 'output_type: loglikelihood\ndoc_to_text: "{{question}}"\ndoc_to_target: " {{choices[0]}}"\n'
    task = write_task("continuations", text + "metric_list:\n- metric: acc\n  aggregation: mean\n", ROWS, metric="acc")
    outcome, samples = run(task, None)
    expected = stock(task, None)
    for sample, theirs in zip(samples, expected.samples, strict=True):
        assert sample["response"][0][0] == pytest.approx(float(theirs["resps"][0][0][0]), abs=1e-4)
    assert outcome["result"]["score"] == expected.results["acc,none"]
