"""AlpacaEval from a real engine's answers to its numbers, with a judge behind a server that fails half of the time."""

import hashlib
import json
import math

import pytest

pytest.importorskip("alpaca_eval")

from harness.arms import bind
from harness.armspec import ArmSpec
from harness.errors import UserError
from harness.judge.settings import Judging

ROWS = 14


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """A mirror with instructions of our own, answered by two references."""
    root = tmp_path_factory.mktemp("mirror")
    folder = root / "tatsu-lab/alpaca_eval"
    folder.mkdir(parents=True)
    names = {"alpaca_eval_text_davinci_003.json": "text_davinci_003", "alpaca_eval_gpt4_baseline.json": "gpt4"}
    for file, reference in names.items():
        rows = [
            {"dataset": "own", "instruction": f"Count to {n}.", "output": f"{reference}: {n}", "generator": reference}
            for n in range(ROWS)
        ]
        (folder / file).write_text(json.dumps(rows))
    return root


def offered(**options):
    bound = bind(ArmSpec(("base",), {"alpaca_eval": {"max_new_tokens": 12, **options}}), ["alpaca_eval"])
    return {name: evaluator for name, (evaluator, _) in bound.evaluators().items()}


def verdict(body):
    """What the judge says of a prompt: a ranking, or log-probabilities where they are asked for."""
    share = int(hashlib.sha256(body["messages"][-1]["content"].encode()).hexdigest()[:8], 16) / 2**32
    if "top_logprobs" not in body:
        first = 1 if share < 0.5 else 2
        return f"[{{'model': 'model_1', 'rank': {first}}}, {{'model': 'model_2', 'rank': {3 - first}}}]"
    likely = [{"token": "m", "logprob": math.log(share)}, {"token": "M", "logprob": math.log1p(-share)}]
    content = [{"token": "m", "logprob": math.log(share), "top_logprobs": likely}]
    return {
        "message": {"role": "assistant", "content": "m"},
        "finish_reason": "length",
        "logprobs": {"content": content},
    }


def judging(server):
    return Judging(model="judge-1", base_url=server.base_url, name="scripted", timeout=0.5, concurrency=8)


@pytest.mark.parametrize("name", [pytest.param("alpaca_eval", marks=pytest.mark.soak), "alpaca_eval_2"])
def test_a_judge_that_fails_half_of_all_calls_changes_no_number(name, run, root, scripted, tmp_path):
    evaluator = offered()[name]
    with scripted.ScriptedJudge(verdict) as server:
        clean, samples = run(evaluator, root, judging=judging(server), runtime={"store": tmp_path / "clean"})
        assert server.calls == ROWS
    with scripted.ScriptedJudge(verdict, faults=scripted.WORST) as server:
        again, others = run(evaluator, root, judging=judging(server), runtime={"store": tmp_path / "faulty"})
    assert again["result"] == clean["result"]
    assert others == samples

    result, metrics = clean["result"], {name: metric["value"] for name, metric in clean["result"]["metrics"].items()}
    assert (result["n_scored"], result["n_missing"]) == (ROWS, 0)
    assert 100 * result["score"] == pytest.approx(metrics["win_rate"])
    assert metrics["distinct_outputs"] == len({sample["response"].strip() for sample in samples})
    assert metrics["avg_length"] == sum(len(sample["response"].strip()) for sample in samples) / ROWS
    assert all(sample["extracted"] == [judged["value"] for judged in sample["judgments"]] for sample in samples)


def test_the_second_order_is_all_that_both_orders_buy(run, root, scripted):
    with scripted.ScriptedJudge(verdict) as server:
        run(offered()["alpaca_eval_2"], root, judging=judging(server))
        both, _ = run(offered(both_orders=True)["alpaca_eval_2"], root, judging=judging(server))
        assert server.calls == 2 * ROWS
    assert 0 <= both["result"]["metrics"]["consistent"]["value"] <= 1
    assert both["scoring"]["judge"]["bought"]["replies"] == ROWS


def test_without_df_gamed_a_length_controlled_number_is_refused_before_anything_is_bought(run, root, scripted):
    with scripted.ScriptedJudge(verdict) as server:
        with pytest.raises(UserError, match="no length-controlled win rate without df_gamed"):
            run(offered()["alpaca_eval_2_lc"], root, judging=judging(server))
        assert server.calls == 0
