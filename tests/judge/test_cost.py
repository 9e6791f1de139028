"""Estimates, counts and budgets."""

import pytest

from harness.api import JudgePrompt, Message
from harness.errors import UserError
from harness.judge.settings import Judging

PRICES = {"price_in": 2.5, "price_out": 10.0}


def test_the_estimate_follows_its_rule(scripted, open_judge):
    prompts = [JudgePrompt((Message("system", "x" * 9), Message("user", "é" * 4)), parse=str, max_tokens=100)] * 2
    prompts += [JudgePrompt((Message("user", "x" * 4),), parse=str, max_tokens=50)]
    with scripted.ScriptedJudge() as server, open_judge(server, **PRICES) as judge:
        cost = judge.estimate(prompts)  # the two that are equal are asked once
        assert (cost.replies, cost.prompt_tokens, cost.answer_tokens) == (2, (3 + 8) + (2 + 8) + (1 + 8), 150)
        assert cost.dollars == pytest.approx((30 * 2.5 + 150 * 10) / 1e6)
        judge.ask(prompts[0])
        assert judge.estimate(prompts).replies == 1


def test_the_count_is_what_the_server_says(scripted, ask, open_judge):
    with scripted.ScriptedJudge() as server:
        with open_judge(server, **PRICES) as judge:
            ask(judge, range(7))
            cost = judge.bought
        assert (cost.replies, cost.prompt_tokens, cost.answer_tokens, cost.uncounted) == (7, 28, 70, 0)
        assert cost.dollars == pytest.approx((28 * 2.5 + 70 * 10) / 1e6)
        assert cost.words() == "7 replies, 28 tokens in, 70 out, $0.00"
        with open_judge(server) as judge:
            ask(judge, range(7))
            assert judge.bought.replies == 0
            assert judge.bought.dollars is None


@pytest.mark.parametrize("faults", [{}, {"429": 0.3, "malformed": 0.1, "reset": 0.1}])
def test_a_budget_is_never_exceeded_and_holds_over_runs(faults, scripted, ask, open_judge):
    """A reply costs 128 millionths of a dollar here, and at its dearest 834."""
    settings = {"price_in": 2.0, "price_out": 12.0, "budget": 0.003, "concurrency": 8}
    with scripted.ScriptedJudge(faults=faults) as server:
        for _ in range(3):
            with open_judge(server, **settings) as judge, pytest.raises(UserError, match=r"budget of \$0.00") as caught:
                ask(judge, range(100))
            assert "\n" not in str(caught.value)
        spent = sum(server.completed.values()) * 128e-6
        assert spent <= 0.003
        if not faults:  # it stops only where the next call might not fit
            assert spent + 834e-6 > 0.003
        with open_judge(server, **{**settings, "budget": 1.0}) as judge:
            ask(judge, range(100))
        assert max(server.completed.values()) == 1


def test_calls_are_counted_over_runs(scripted, ask, open_judge):
    with scripted.ScriptedJudge() as server:
        for _ in range(2):
            with open_judge(server, max_calls=10) as judge, pytest.raises(UserError, match="10 calls are made"):
                ask(judge, range(30))
            assert server.calls == 10


def test_a_budget_without_prices_is_refused(refused):
    assert "price_in" in refused(Judging, model="m", base_url="http://localhost/v1", budget=1.0)
