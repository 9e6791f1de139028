"""A plan as it is printed: every job stands in it, and the numbers add up."""

import io
import re
from collections import Counter
from pathlib import Path

import pytest
from rich.console import Console

from harness.cli import plantext
from harness.cli.running import Comparison, places_of, plan_of
from harness.estimate.plan import estimate
from harness.plan import arm_jobs
from harness.store import Store

ARMS = {
    "curated": ["decontaminate", "dtm,im"],
    "generated": ["gsm8k_rft", "self_refine"],
    "penalised": ["ewc", "l2_base"],
    "merged": ["single", "fisher", "soup"],
}


@pytest.fixture
def printed(tmp_path, monkeypatch):
    """A plan, and its lines at 80 columns."""

    def printed(arms, *settings):
        store, places = Store(tmp_path / "store"), places_of(tmp_path / "store", None)
        plan = plan_of(Comparison(None, arms, settings, seeds="2"), places)
        out = io.StringIO()
        monkeypatch.setattr(plantext, "Console", lambda: Console(file=out, width=80))
        plantext.show_plan(plan, store, estimate(plan, store, places), brief=False)
        return plan, [line.rstrip() for line in out.getvalue().splitlines()]

    return printed


@pytest.fixture
def solved(tmp_path):
    """Word problems with solutions, as the methods for mathematics read them."""
    file = Path(tmp_path / "solved.jsonl")
    file.write_text('{"question": "1+1?", "answer": "It is <<1+1=2>>2.\\n#### 2"}\n' * 3)
    return str(file)


@pytest.mark.parametrize("arms", ARMS.values(), ids=ARMS)
def test_every_job_of_an_arm_is_listed_once(printed, arms, solved):
    columns = "{kind: pair, prompt: question, completion: answer}"
    settings = [
        f"data.specialist=[{{source: {solved}, columns: {columns}}}]",
        "data.pretraining=playground:playground_text",
    ]
    plan, lines = printed(arms, *settings)
    listed, arm = Counter(), ""
    for line in lines:
        if (name := line.partition(" against")[0]) in {one.id for one in plan.arms}:
            arm = name
        elif found := re.search(r"  [0-9a-f]{12} \(seed 0\)  (\d+) jobs? to do$", line):
            listed[arm] += int(found[1])
    assert listed == {arm.id: len(arm_jobs(plan, arm)) for arm in plan.arms}
    assert f"each arm for itself would take {listed.total()}" in " ".join(lines)


def test_plug_ins_are_named_and_not_their_classes(printed):
    _, lines = printed(["decontaminate", "dtm"])
    text = " ".join(map(str.strip, lines))
    assert "curate by decontaminate" in text
    assert "playground_code by decontaminate (size unknown)" in text
    assert "dtm.no_eos: false" in text
    assert "decontaminate.role: not set" in text
    assert not re.search(r"Clean|Disperse|False|True", text)
