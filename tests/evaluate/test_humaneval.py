"""HumanEval from the model's first token to the score, with problems of our own."""

import json

import pytest

from harness.arms import bind
from harness.armspec import ArmSpec
from harness.sandbox import sandbox

NAMES = ("double", "triple", "negate")


@pytest.fixture
def root(tmp_path):
    """A mirror with three problems of our own in the place and shape of HumanEval's."""
    rows = [
        {
            "task_id": f"HumanEval/{n}",
            "prompt": f'def {name}(x):\n    """The {name} of x."""\n',
            "entry_point": name,
            "canonical_solution": "    return x\n",
            "test": "def check(candidate):\n    assert candidate(0) == 0\n",
        }
        for n, name in enumerate(NAMES)
    ]
    folder = tmp_path / "mirror/openai/openai_humaneval"
    folder.mkdir(parents=True)
    (folder / "test.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder.parents[1]


@pytest.fixture(params=["humaneval", "humaneval_chat", "humaneval_t07"])
def humaneval(request):
    evaluator, _ = bind(ArmSpec(("humaneval",))).evaluators()[request.param]
    return evaluator


def test_a_models_programs_are_run_and_none_of_them_is_missing(run, humaneval, root):
    outcome, samples = run(humaneval, root, runtime={"unsafe_code": False})
    programs = sum(len(sample["detail"]["executions"]) for sample in samples)
    assert outcome["scoring"].get("sandbox") == (
        {"tier": sandbox.open_sandbox().name, "programs": programs} if programs else None
    )
    assert outcome["result"]["score"] == 0.0
    assert (outcome["result"]["n_scored"], outcome["result"]["n_missing"]) == (3, 0)
    assert [sample["id"] for sample in samples] == [f"HumanEval/{n}" for n in range(3)]
    if humaneval.name == "humaneval":
        assert all(len(sample["detail"]["executions"]) == 1 for sample in samples)
    if humaneval.name == "humaneval_t07":
        assert all(len(sample["detail"]["executions"]) == 20 for sample in samples)
        assert any(len(set(sample["response"])) > 1 for sample in samples)
        assert set(samples[0]["scores"]) == {"pass@1", "pass@10"}


def test_where_nothing_can_shut_programs_in_nothing_is_run(run, root, refused, monkeypatch):
    monkeypatch.setattr(sandbox, "TIERS", ())
    evaluator, _ = bind(ArmSpec(("humaneval",))).evaluators()["humaneval"]
    assert refused(run, evaluator, root).startswith("nothing on this machine can shut in generated code")
    outcome, _ = run(evaluator, root, runtime={"unsafe_code": True})
    assert outcome["scoring"]["sandbox"] == {"tier": "unsafe", "programs": 3}
