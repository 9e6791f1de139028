"""MT-Bench from its questions to the leaderboard: real engines, and judges on localhost."""

import json
from itertools import pairwise
from statistics import fmean

import pytest
import yaml
from harness.plugins import mt_bench

from harness.api import Arm
from harness.canonical import digest
from harness.context import Context
from harness.data.hubrows import read_now
from harness.evaluate.declare import Declarer
from harness.evaluate.score import evaluate
from harness.jobs import EngineSettings
from harness.judge.settings import Judging
from harness.store import Store
from harness.suite import reads

pytestmark = pytest.mark.timeout(300)

QUESTIONS = {81: "writing", 111: "math", 112: "math", 141: "stem"}


@pytest.fixture
def root(tmp_path, bench):
    """A mirror with four questions of our own in the place of FastChat's."""
    turns = ["How many apples are {} and 1 apples?", "How many apples are they, if Ben has {} more?"]
    questions = [
        {"question_id": number, "category": category, "turns": [turn.format(number) for turn in turns]}
        for number, category in QUESTIONS.items()
    ]
    for hub, rows in {**bench.data, bench.questions: questions}.items():
        path = tmp_path / "mirror" / hub.id / (hub.mirror or hub.files)[0]
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return tmp_path / "mirror"


@pytest.fixture
def run(command, tmp_path, long_model):
    """Runs the untrained model, beside one that learnt a little; gives the evaluations' results and samples by name."""
    recipe = {
        "name": "judged",
        "model": str(long_model),
        "data": {"general": ["playground:playground_chat"]},
        "options": {"playground": {"chat": 16}},
        "train": {"lr": 1e-3, "batch_size": 4, "max_length": 256},
        "engine": {"name": "hf"},
        "runtime": {"threads": 1},
    }

    def run(benchmarks, judge, root, *more):
        path = tmp_path / "judged.yaml"
        path.write_text(yaml.safe_dump({**recipe, "benchmarks": benchmarks, "judge": judge}))
        places = ("--store", tmp_path / "store", "--out", tmp_path / "run", "--data-root", root)
        process = command("run", path, "--plugins", "base", *places, *more, cwd=tmp_path)
        out, err = process.communicate(timeout=240)
        assert process.returncode == 0, out + err
        return evaluations(Store(tmp_path / "store"))

    return run


def evaluations(store):
    found = {}
    for entry in store.entries():
        if entry.manifest["kind"] == "evaluate":
            lines = (store.folder(entry.key) / "samples.jsonl").read_text().rstrip("\n").split("\n")
            evaluation = entry.manifest["result"], [json.loads(line) for line in lines]
            found.setdefault(entry.manifest["declared"]["benchmark"], []).append(evaluation)
    return found


def named(judge):
    return {"model": "scripted", "name": "scripted", "base_url": judge.base_url}


def says(body):
    """A rating or a preference that depends on the whole request."""
    drawn = sum(json.dumps(body["messages"]).encode())
    if body["messages"][0]["content"].startswith("as pair"):
        return f"Of [[A]], [[B]] and [[C]] it is [[{'ABC'[drawn % 3]}]]."
    return f"In the form [[5]]: [[{1 + drawn % 10}]]"


def values(sample):
    return [verdict["value"] for verdict in sample["judgments"]]


def test_a_model_answers_once_and_no_judgment_is_bought_twice(run, root, scripted, tmp_path):
    benchmarks = ["mt_bench", "mt_bench:mt_bench_corrected", "mt_bench:mt_bench_pairwise"]
    with scripted.ScriptedJudge(says) as judge:
        found = run(benchmarks, named(judge), root)
        bought = judge.calls
        assert max(judge.completed.values()) == 1
        assert run(benchmarks, named(judge), root) == found
        assert judge.calls == bought
    kinds = [entry.manifest["kind"] for entry in Store(tmp_path / "store").entries()]
    assert kinds.count("respond") == 2

    for name in ("mt_bench", "mt_bench_strict", "mt_bench_corrected"):
        for result, samples in found[name]:
            ratings = [value for sample in samples for value in values(sample)]
            assert len(ratings) == 2 * len(QUESTIONS)
            assert result["score"] == pytest.approx(fmean(ratings) / 10)
            assert result["n_missing"] == 0
    assert {value for _, samples in found["mt_bench"] for sample in samples for value in values(sample)} == {5}
    assert len({value for _, samples in found["mt_bench_strict"] for s in samples for value in values(s)}) > 1

    against_itself, compared = sorted(
        found["mt_bench_pairwise"], key=lambda evaluation: "judgments" in evaluation[1][0]
    )
    assert against_itself[0]["score"] == 0.5
    letters = [values(sample) for sample in compared[1] if "judgments" in sample]
    worth = {("A", "B"): 1, ("B", "A"): 0}
    wins = [worth.get(pair, 0.5) for a, b, c, d in letters for pair in ((a, c), (b, d))]
    tied = [0.5, 0.5] * (len(QUESTIONS) - len(letters))
    assert compared[0]["score"] == pytest.approx(fmean(wins + tied))


def test_repeated_judgments_are_each_bought_and_the_template_is_the_one_named(run, root, scripted):
    rising = iter(range(1000))

    with scripted.ScriptedJudge(lambda _: f"[[{1 + next(rising) % 10}]]") as judge:
        options = ("--no-baseline", "--set", "mt_bench.repeats=3", "--set", "mt_bench.template=zero_shot")
        ((result, samples),) = run(["mt_bench:mt_bench_strict"], named(judge), root, *options)["mt_bench_strict"]
        assert set(judge.completed.values()) == {3}
    ratings = [value for sample in samples for value in values(sample)]
    assert len(ratings) == 6 * len(QUESTIONS)
    assert any(one != other for sample in samples for one, other in pairwise(values(sample)[::2]))
    assert result["score"] == pytest.approx(fmean(ratings) / 10)
    assert not any("###" in said for sample in samples for said in sample["response"])


def test_a_model_that_always_says_the_same_is_told(root, scripted, tmp_path):
    (evaluator,) = (one for one in mt_bench.evaluator(Arm("base", ())) if one.name == "mt_bench_strict")
    items = evaluator.task.questions.items(read_now(reads(evaluator), root))
    reply = {"text": "I am the best answer there is.", "finish": "stop", "tokens": 8, "prompt_cut": 0}
    answers = [
        {"id": item.id, "doc_sha256": digest(item.content), "prompt_sha256": "", "rounds": [[reply]] * 2}
        for item in items
    ]
    (tmp_path / "answers.jsonl").write_text("".join(json.dumps(answer) + "\n" for answer in answers))
    declarer = Declarer("mt_bench 1.0", root, None)
    asked = declarer.respond(evaluator.task, EngineSettings(), limit=None, seed=0).model_dump(mode="json")
    facts = dict.fromkeys(("prompt_tokens", "template_digest", "bos_count_max"))
    (tmp_path / "manifest.json").write_text(json.dumps({"declared": asked, "result": facts}))
    runtime, notices = {"data_root": root, "store": tmp_path / "store"}, []
    context = Context(tmp_path, {"answers": tmp_path}, runtime, lambda _: None, notice=notices.append)
    with scripted.ScriptedJudge(says) as judge:
        judging = Judging(**named(judge))
        found = evaluate(declarer.evaluate(evaluator, judging.settings().model_dump()), evaluator, judging, context)
    assert found["result"]["alike"] == found["result"]["n_scored"] == len(QUESTIONS)
    assert found["result"]["metrics"]["answers_alike"]["value"] == 1
    said = "100% of the answers are near copies of one: the judge's scores say little of the model"
    assert notices.count(said) == 1
    lines = (tmp_path / "samples.jsonl").read_text().rstrip("\n").split("\n")
    assert [json.loads(line)["alike"] for line in lines] == [True] * len(QUESTIONS)


@pytest.mark.vllm
@pytest.mark.timeout(600)
def test_a_local_judge_that_says_nothing_sensible_scores_nothing(run, mirror, serve_vllm, long_model, tmp_path):
    """All questions, the model under test as the judge: random weights rate nothing, and that is what is reported."""
    with serve_vllm(long_model, 1 << 15) as base_url:
        found = run(["mt_bench"], {"model": "tiny", "base_url": base_url}, mirror, "--no-baseline")
    for name in ("mt_bench", "mt_bench_strict"):
        ((result, samples),) = found[name]
        assert (result["n_expected"], result["n_scored"], result["n_missing"]) == (80, 0, 80)
        assert result["outcomes"] == {"judge_unparsed": 80}
        assert result["score"] is None
        assert result["metrics"] == {}
        assert all(sample["scores"] == {} for sample in samples)
        assert {verdict["outcome"] for sample in samples for verdict in sample["judgments"]} == {"judge_unparsed"}
        assert any(verdict["text"] for sample in samples for verdict in sample["judgments"])
    assert found.keys() == {"mt_bench", "mt_bench_strict"}
    (line,) = json.loads((tmp_path / "run" / "leaderboard.json").read_text())["lines"]
    assert [line["cells"][name]["score"] for name in found] == [None, None]
    assert [line["cells"][name]["unscored"] for name in found] == [{"judge_unparsed": 80}] * 2
