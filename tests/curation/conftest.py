"""Curations to be done, examples to do them on, and a job to do them in."""

from dataclasses import dataclass

import pytest

from harness.api import Curation, DataSource, Example, Generated, Message
from harness.context import Context
from harness.curation.declare import Declarer
from harness.curation.job import curate
from harness.data.resolve import Places
from harness.engines.pool import Engines
from harness.jobs import DataDeclaration, EngineSettings, MixtureItem


def talks(n=12, name="talk"):
    """Conversations of one and of two turns, in turn."""
    for i in range(n):
        first = (Message("user", f"{name}: how many are {i}?"), Message("assistant", f"They are {i} apples."))
        second = (Message("user", "And one more?"), Message("assistant", f"{i + 1}."))
        yield Example(f"e{i}", (*first, *second) if i % 2 else first, {"score": i})


def source(name="talk", n=12):
    return DataSource(Generated(make=lambda: talks(n, name), n=n, recipe={"n": n}))


def item(name="talk", n=12):
    return MixtureItem(data=DataDeclaration(name=name, source={"generated": {"n": n}}, n=n))


@pytest.fixture(scope="session")
def engines():
    pool = Engines()
    yield pool
    pool.close()


@pytest.fixture
def context(tmp_path):
    """Where a job works: `context("first", model=folder)`."""

    def make(name="job", **parents):
        (tmp_path / name).mkdir(exist_ok=True)
        runtime = {"threads": 1, "batch_size": 4, "store": str(tmp_path / "store"), "data_root": str(tmp_path)}
        return Context(tmp_path / name, parents, runtime, lambda _: None, notice=lambda _: None, label="the curation")

    return make


@pytest.fixture
def declare(tmp_path):
    """What a curation declares: `declare(Curated("talk", curation))`."""

    def declare(data, *, judging=None, seed=0):
        judge = judging.settings().model_dump(mode="json") if judging else None
        declarer = Declarer("own 1.0", EngineSettings(max_length=256), judge, Places(tmp_path, None))
        return declarer.declare(data, [item(parent) for parent in data.parents], seed)

    return declare


@pytest.fixture
def do(declare, context, engines):
    """Declares a curation and does it: `do(Curated("talk", curation))` returns the outcome and the job's folder."""

    def do(data, *, judging=None, seed=0, name="job", into=None, **parents):
        declared, where = declare(data, judging=judging, seed=seed), into or context(name, **parents)
        sources = {parent: source(parent) for parent in data.parents}
        return curate(declared, data.curation, sources, where, engines=engines, judging=judging), where.folder

    return do


@dataclass(frozen=True)
class Parity(Curation):
    """By parity of the score."""

    portions = ("even", "odd")

    def curate(self, examples, tools):
        return {name: [e for e in examples if e.meta["score"] % 2 == odd] for odd, name in enumerate(self.portions)}


@pytest.fixture
def parity():
    return Parity()


@pytest.fixture(name="talks")
def talks_fixture():
    """The examples of `talk`."""
    return list(talks())
