"""A real local judge: a model of random weights says nothing that can be parsed, and that is what is reported."""

import pytest

from harness.judge.judge import Judge
from harness.judge.settings import Judging

pytestmark = [pytest.mark.vllm, pytest.mark.timeout(400)]


def test_nonsense_is_unparsed_and_never_a_score(vllm_server, ask, tmp_path, notices):
    judging = Judging(model="tiny", name="local", base_url=vllm_server, price_in=1, price_out=2)
    with Judge(judging, tmp_path, notice=notices.append) as judge:
        judgments = ask(judge, range(6))
        assert {(j.verdict.outcome, j.verdict.value) for j in judgments.values()} == {("judge_unparsed", None)}
        assert {len(j.replies) for j in judgments.values()} == {2}  # greedy: the second is the first again
        cost = judge.bought
    assert (cost.replies, cost.uncounted) == (12, 0)
    assert cost.dollars == pytest.approx((cost.prompt_tokens + 2 * cost.answer_tokens) / 1e6)
    with Judge(judging, tmp_path, notice=notices.append) as judge:
        assert ask(judge, range(6)) == judgments
        assert judge.calls == 0
    assert notices == []
