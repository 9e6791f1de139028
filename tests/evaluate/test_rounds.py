"""A plug-in's benchmark on a real engine: rounds, samples drawn again, scorers that call, fail and settle."""

import json
from collections.abc import Mapping
from concurrent.futures import Future
from contextlib import closing
from dataclasses import dataclass, replace

import pytest

from harness.api import (
    Ask,
    Benchmark,
    Evaluator,
    Execute,
    Execution,
    Files,
    Item,
    Message,
    Questions,
    Scorer,
    Scores,
    Total,
)
from harness.canonical import digest
from harness.context import Context
from harness.data.hubrows import reader
from harness.engines.pool import Engines
from harness.errors import Failure, UserError
from harness.evaluate.declare import Declarer
from harness.evaluate.marking import ScorerMarking, answered
from harness.evaluate.respond import Assignment, respond
from harness.jobs import EngineSettings, Respond


def row(n, *, raises=False):
    return {"question": f"How many are {n} and {n}?", "raises": raises}


@dataclass(frozen=True)
class Dialogue(Questions):
    """Two rounds: a question, and a second one about the answer; the second is drawn twice."""

    path: str
    heat: float = 0.0

    @property
    def data(self):
        return (Files((self.path,)),)

    def items(self, read):
        return [Item(f"q{n}", dict(row)) for n, row in enumerate(read(self.data[0]))]

    def ask(self, item):
        first = (Message("user", item.content["question"]),)
        (reply,) = yield [Ask(first, 8)]
        again = (*first, Message("assistant", reply.text), Message("user", "Again, please."))
        yield [Ask(again, 8, temperature=self.heat), Ask(again[-1].content, 8)]


@dataclass(frozen=True)
class Lengths(Scorer):
    """How long the answers are; what the item's row says may go wrong goes wrong."""

    def score(self, response, read, opponent):  # noqa: ARG002
        if response.item.content.get("raises"):
            raise KeyError("no answer")
        lengths = [len(reply.text) for reply in response.replies]
        return Scores({"share": min(1.0, lengths[0] / 100)}, {"share": 1.0 + len(lengths)}, extracted=lengths)

    def totals(self, scored, read) -> Mapping[str, float]:  # noqa: ARG002
        return {"characters": sum(sum(scores.extracted) for _, scores in scored)}


@pytest.fixture
def dialogue(tmp_path):
    path = tmp_path / "questions.jsonl"

    def make(scorer=Lengths(), rows=6, heat=0.0, **options):
        content = [
            {"question": f"How many are {n} and {n}?", "raises": n == options.get("raises")} for n in range(rows)
        ]
        path.write_text("".join(json.dumps(row) + "\n" for row in content))
        task = Benchmark(Dialogue(str(path), heat), scorer, "share")
        return Evaluator("dialogue", "own-1", task, aggregate=options.get("aggregate", Evaluator.aggregate))

    return make


def test_rounds_are_asked_stored_and_scored(run, dialogue, tmp_path):
    outcome, samples = run(dialogue(), None)
    assert [sample["id"] for sample in samples] == [f"q{n}" for n in range(6)]
    assert all(len(sample["response"]) == 3 for sample in samples)
    result = outcome["result"]
    assert result["score"] == pytest.approx(sum(sample["scores"]["share"] for sample in samples) / 6)
    assert result["metrics"]["characters"] == {"value": sum(sum(s["extracted"]) for s in samples), "n": 6}
    assert outcome["measured"]["requests_asked"] == 6 + 6 + 1  # the second text is the same for all items
    (tmp_path / "job" / "samples.jsonl").unlink()
    again, _ = run(dialogue(), None)
    assert again["result"] == result
    assert again["measured"]["requests_asked"] == 0


class Halves(Lengths):
    """Finds half of a surrogate pair, as one does in JSON that says so."""

    def score(self, response, read, opponent):  # noqa: ARG002
        return Scores({"share": 1.0}, extracted=json.loads('["\\ud83d"]'))

    def totals(self, scored, read):  # noqa: ARG002
        return {}


def test_half_a_character_that_a_scorer_finds_is_kept(run, dialogue):
    _, samples = run(dialogue(Halves(), rows=1), None)
    assert samples[0]["extracted"] == ["\ud83d"]


def test_sampled_rounds_differ_by_item_and_seed_and_come_again(run, dialogue, tmp_path):
    def second(seed, name):
        _, samples = run(dialogue(heat=1.0), None, seed=seed, folder=_made(tmp_path / name))
        return [sample["response"][1] for sample in samples]

    assert second(0, "a") == second(0, "b") != second(1, "c")


def test_weights_count_in_the_mean_and_failures_cost_their_item(run, dialogue):
    outcome, samples = run(dialogue(raises=2), None)
    assert outcome["result"]["outcomes"]["scorer_error"] == 1
    assert (outcome["result"]["n_scored"], outcome["result"]["n_missing"]) == (5, 1)
    assert samples[2]["error"] == "KeyError: 'no answer'"
    with pytest.raises(Failure, match="the scorer failed on every sample"):
        run(dialogue(raises=0, rows=1), None)


def test_a_total_drops_the_lowest_group(run, dialogue):
    groups = (("q0", "q1"), ("q2", "q3"))
    outcome, samples = run(dialogue(aggregate=Total(10.0, groups)), None)
    points = [sample["scores"]["share"] for sample in samples]
    lowest = min(points[0] + points[1], points[2] + points[3])
    assert outcome["result"]["score"] == pytest.approx((sum(points) - lowest) / 10)


@dataclass(frozen=True)
class Stored:
    """Answers of a finished job, in two lots."""

    declared: Respond
    records: list

    def lots(self):
        return iter([self.records[:1], self.records[1:]])


class Calls:
    """Runs what is submitted at once, out of order where it can be."""

    def __init__(self, outcome):
        self.outcome, self.expected, self.seen = outcome, [], []

    def expect(self, calls):
        self.expected += calls

    def submit(self, call):
        self.seen.append(call)
        future = Future()
        result = self.outcome(call)
        if isinstance(result, Exception):
            future.set_exception(result)
        else:
            future.set_result(result)
        return future


@dataclass(frozen=True)
class Runs(Scorer):
    """Two programs, then one more where the first passed."""

    def score(self, response, read, opponent):  # noqa: ARG002
        one, two = yield [Execute(f"{response.item.id}.{n}", "f", "") for n in (1, 2)]
        passed = [one.outcome, two.outcome]
        if one.outcome == "passed":
            (three,) = yield [Execute(f"{response.item.id}.3", "f", "")]
            passed.append(three.outcome)
        return Scores({"share": passed.count("passed") / len(passed)})

    def settle(self, scored, read):  # noqa: ARG002
        best = max(scores.values["share"] for _, scores in scored)
        return [
            replace(scores, values={**scores.values, "of_best": scores.values["share"] / best}) for _, scores in scored
        ]


def marking(dialogue, calls, ids=3):
    task = dialogue(Runs(), rows=ids).task
    data = Declarer("x 1", None, None).respond(task, EngineSettings(), limit=None, seed=0).data
    asked = Respond(plugin="x 1", questions=None, data=data, engine=EngineSettings())
    reply = {"text": "a", "finish": "stop", "tokens": 1, "prompt_cut": 0}
    rows = [{"question": f"How many are {n} and {n}?", "raises": False} for n in range(ids)]
    records = [
        {"id": f"q{n}", "doc_sha256": digest(row), "prompt_sha256": "", "rounds": [[reply]]}
        for n, row in enumerate(rows)
    ]
    said = answered(task.questions, Stored(asked, records), None, None)
    return ScorerMarking(task, said, reader((), (), None), calls), records


def test_scorers_go_on_with_what_they_called_for(dialogue):
    calls = Calls(lambda call: Execution("failed" if call.code == "q1.1" else "passed"))
    found, _ = marking(dialogue, calls)
    by_id = {sample.record["id"]: sample for sample in found.samples()}
    assert [call.code for call in calls.expected] == [f"q{n}.{k}" for n in range(3) for k in (1, 2)]
    assert len(calls.seen) == 8
    settled = found.settled([by_id[f"q{n}"] for n in range(3)])
    assert [sample.scores.values for sample in settled] == [
        {"share": 1.0, "of_best": 1.0},
        {"share": 0.5, "of_best": 0.5},
        {"share": 1.0, "of_best": 1.0},
    ]


def test_what_ends_the_judging_ends_the_evaluation(dialogue):
    found, _ = marking(dialogue, Calls(lambda _: Failure("the judge is gone", "try later")))
    with pytest.raises(Failure, match="the judge is gone"):
        list(found.samples())


def test_answers_to_other_items_are_refused(dialogue):
    _, records = marking(dialogue, Calls(lambda _: Execution("passed")))
    task = dialogue(Runs(), rows=4).task
    data = Declarer("x 1", None, None).respond(task, EngineSettings(), limit=None, seed=0).data
    asked = Respond(plugin="x 1", questions=None, data=data, engine=EngineSettings())
    with pytest.raises(Failure, match="there are answers to 3 items of 4"):
        list(answered(task.questions, Stored(asked, records), None, None))
    other = [*records, {**records[0], "id": "q3"}]
    with pytest.raises(Failure, match="the stored answers are not those to item q3"):
        list(answered(task.questions, Stored(asked, other), None, None))
    with pytest.raises(Failure, match="the stored answers are not those to item q3"):
        list(answered(task.questions, Stored(asked, records), records, None))


def test_two_items_of_one_id_are_refused(run, dialogue):
    class Twice(Dialogue):
        def items(self, read):  # noqa: ARG002
            return [Item("same", {}), Item("same", {})]

    evaluator = dialogue()
    twice = replace(evaluator, task=replace(evaluator.task, questions=Twice(evaluator.task.questions.path)))
    with pytest.raises(UserError, match="two items of a benchmark have one id"):
        run(twice, None)


def _made(folder):
    folder.mkdir()
    return folder


def test_those_who_may_ask_again_are_asked_first_the_few_before_the_many(
    dialogue, gsm8k, small_root, chat_models, tmp_path
):
    declarer = Declarer("test 1.0", small_root, None)
    assignments = []
    for name, task in {
        "task": gsm8k.task,
        "many": dialogue(rows=5).task,
        "few": Benchmark(Dialogue(str(tmp_path / "questions.jsonl")), Lengths(), "share"),
    }.items():
        folder = tmp_path / name
        folder.mkdir()
        context = Context(folder, {"model": chat_models["a"]}, {"data_root": small_root}, lambda _: None)
        limit = {"task": 1, "many": None, "few": 2}[name]
        declared = declarer.respond(task, EngineSettings(name="hf"), limit=limit, seed=0)
        assignments.append(Assignment(declared, task, context))
    with closing(Engines()) as engines:
        done = [assignment.context.folder.name for assignment, _ in respond(assignments, engines)]
    assert done == ["few", "many", "task"]
