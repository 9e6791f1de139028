import json
import threading

import pytest

from harness.canonical import canonical
from harness.context import Context
from harness.crew import Queue
from harness.evaluate.arrivals import FILE, Answers, Arrivals
from harness.jobs import ANSWERS, EngineSettings, Job, Respond
from harness.judge.settings import Judging
from harness.store import Store

DECLARED = Respond(plugin="x 1", questions=None, engine=EngineSettings())
JOB = Job("respond", "ask", DECLARED.model_dump(mode="json"))
RECORDS = [{"id": str(n), "rounds": [[{"text": f"answer {n}"}]]} for n in range(5)]


def write(folder, records):
    (folder / ANSWERS).write_text("".join(canonical(record) + "\n" for record in records), encoding="utf-8")


def told(folder, records):
    arrivals = Arrivals(folder, DECLARED, len(records))
    arrivals.tell(records)
    arrivals.close()


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "store")


@pytest.fixture
def context(store, tmp_path):
    parents = {"answers": store.folder(JOB.key)}
    return Context(tmp_path, parents, {"store": str(store.root)}, lambda _: None)


def commit(store):
    store.commit(JOB, {"declared": JOB.declared, "result": {}})


@pytest.mark.parametrize("end", ["\u2028", "\u2029", "\x85", "\x0b", "\x0c", "\x1c", "\r", "\n"])
def test_an_answer_may_hold_whatever_ends_lines_elsewhere(store, context, end):
    records = [{"id": str(n), "rounds": [[{"text": f"one{end}two {n}"}]]} for n in range(3)]
    with store.working_on(JOB.key) as partial:
        arrivals = Arrivals(partial, DECLARED, 3)
        arrivals.tell(records[:2])
        coming = Answers(context)
        lots = coming.lots()
        assert next(lots) == records[:2]
        write(partial, records)
        arrivals.end()
        commit(store)
    assert [record for lot in lots for record in lot] == records[2:]
    assert (coming.records, Answers(context).records) == (records, records)


def test_a_finished_job_has_one_lot(store, context):
    with store.working_on(JOB.key) as partial:
        write(partial, RECORDS)
        commit(store)
    answers = Answers(context)
    assert list(answers.lots()) == [RECORDS]
    assert (answers.items, answers.declared) == (5, DECLARED)


@pytest.mark.timeout(60)
def test_answers_are_read_as_they_come_and_each_once(store, context):
    with store.working_on(JOB.key) as partial:
        arrivals = Arrivals(partial, DECLARED, len(RECORDS))
        answers = Answers(context)
        assert (answers.items, answers.declared, answers.records) == (5, DECLARED, [])
        lots = answers.lots()
        assert next(lots) == []
        arrivals.tell([RECORDS[3]])
        assert next(lots) == [RECORDS[3]]
        arrivals.tell([RECORDS[3], RECORDS[0], RECORDS[4]])
        assert next(lots) == [RECORDS[0], RECORDS[4]]
        write(partial, RECORDS)
        arrivals.end()
        assert not (partial / FILE).exists()
        commit(store)
    assert [record for lot in lots for record in lot] == [RECORDS[1], RECORDS[2]]
    assert answers.records == RECORDS


def test_half_a_line_waits_for_its_other_half(store, context):
    with store.working_on(JOB.key) as partial:
        Arrivals(partial, DECLARED, 5).close()
        lots = Answers(context).lots()
        line = canonical(RECORDS[0]) + "\n"
        with (partial / FILE).open("a", encoding="utf-8") as file:
            file.write(line[:10])
            file.flush()
            assert next(lots) == []
            file.write(line[10:])
        assert next(lots) == [RECORDS[0]]


@pytest.mark.timeout(60)
def test_a_job_about_to_be_finished_is_waited_for(store, context):
    found = []
    with store.working_on(JOB.key) as partial:
        write(partial, RECORDS)
        reading = threading.Thread(target=lambda: found.extend(Answers(context).lots()))
        reading.start()
        commit(store)
        reading.join()
    assert found == [RECORDS]


def test_a_second_attempt_tells_anew(store, context):
    with store.working_on(JOB.key) as partial:
        told(partial, RECORDS[:3])
        told(partial, RECORDS[3:])
        assert next(Answers(context).lots()) == RECORDS[3:]


# --- which are followed --------------------------------------------------------------------------------------------


def evaluation(name, **parents):
    return Job("evaluate", name, {"benchmark": name}, parents=parents)


def test_those_with_most_to_score_are_followed_first():
    asked = {name: Job("respond", name, {"questions": name}) for name in ("few", "many", "later")}
    scored = [evaluation(name, answers=job.key) for name, job in asked.items()]
    against = evaluation("against", answers=asked["many"].key, opponent=asked["later"].key)
    queue = Queue({job.key: job for job in (*asked.values(), *scored, against)})
    queue.take(asked.values())
    assert list(queue.following()) == []
    queue.arriving = {asked["few"].key: 80, asked["many"].key: 805}
    assert [job.label for job in queue.following()] == ["many", "few"]
    queue.finish(asked["few"])
    assert [job.label for job in queue.following()] == ["many"]
    assert [job.label for job in queue.ready()] == ["few"]
    queue.finish(asked["later"])
    assert {job.label for job in queue.following()} == {"many", "against"}


@pytest.mark.parametrize(
    ("settings", "bounded"),
    [
        ({}, True),
        ({"price_in": 0.0, "price_out": 0.0}, True),
        ({"price_in": 1.0, "price_out": 3.0}, False),
        ({"price_in": 1.0, "price_out": 3.0, "budget": 5.0}, True),
        ({"price_in": 1.0, "price_out": 3.0, "max_calls": 100}, True),
    ],
)
def test_what_has_a_price_and_no_bound_waits_for_all_answers(settings, bounded):
    assert Judging(model="m", base_url="http://localhost:1/v1", **settings).bounded is bounded


def test_a_line_holds_an_item(store):
    with store.working_on(JOB.key) as partial:
        told(partial, RECORDS)
        lines = (partial / FILE).read_bytes().splitlines()
    assert [json.loads(line) for line in lines[1:]] == RECORDS
