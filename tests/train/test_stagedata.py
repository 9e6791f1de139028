from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from harness.data import flat
from harness.data.rendering import TOKENS
from harness.jobs import CORPUS, Budget, MixtureItem, Operation, StageBudget
from harness.train.stagedata import StageData


def stage_data(make, base, folder, *, progress=None, cache=None, **declared):
    runtime = {"cache": str(cache)} if cache else {}
    context = make.context(folder, progress=progress, **runtime)
    return StageData(make.declare(**declared), make.sources, make.loss, context, base / "model")


def arrays(corpus):
    return {name: getattr(corpus, name).tolist() for name in ("ids", "parts", "weights", "offsets", "dataset")}


@pytest.fixture
def written(monkeypatch):
    folders = []
    original = flat.Writer.__enter__

    def watched(writer):
        folders.append(writer._folder)
        return original(writer)

    monkeypatch.setattr(flat.Writer, "__enter__", watched)
    return folders


def test_stages_arms_seeds_and_budgets_share_one_rendering(make, base, tmp_path, written):
    cache, mixture = tmp_path / "cache", (make.item("first"), make.item("second"))
    matched = Budget(
        unit="tokens",
        stages=tuple(StageBudget(mixture=(one,), epochs=2, batch_size=4, max_length=20) for one in mixture),
    )
    ways = [{}, {"seed": 1}, {"max_length": 16}, {"loss_reduction": "example"}, {"budget": matched}]
    for number, way in enumerate(ways):
        data = stage_data(make, base, tmp_path / str(number), cache=cache, **way)
        data.order(data.corpus(mixture, data.declared.settings.max_length))
    assert len([folder for folder in written if folder.parent.name == TOKENS]) == 2
    assert len([folder for folder in written if folder.parent.name == CORPUS]) == len(ways)


def test_a_second_attempt_finds_what_the_first_one_wrote(make, base, tmp_path, written):
    first, second = (stage_data(make, base, tmp_path / "stage").corpus((make.item("first"),), 64) for _ in range(2))
    assert arrays(first) == arrays(second)
    assert (first.names, first.truncated, first.dropped) == (second.names, second.truncated, second.dropped)
    assert len(written) == 2


def test_a_part_of_the_data_is_what_the_whole_holds_of_it(make, base, tmp_path):
    part = MixtureItem(data=make.item("first").data, ops=(Operation(op="sample", fraction="1/4"),))
    alone = stage_data(make, base, tmp_path / "a", cache=tmp_path / "one").corpus((part,), 64)
    both = stage_data(make, base, tmp_path / "b", cache=tmp_path / "other")
    both.corpus((make.item("first"),), 64)
    assert arrays(both.corpus((part,), 64)) == arrays(alone)
    assert len(alone) == 10


def test_progress_says_what_is_done(make, base, tmp_path):
    seen = []
    stage_data(make, base, tmp_path / "stage", progress=seen.append).corpus((make.item("first"),), 64)
    assert [(now.done, now.total, now.note) for now in seen] == [(40, 40, "rendering"), (40, 40, "weighing")]


@pytest.mark.timeout(120)
def test_of_several_ranks_one_renders_and_all_have_the_same(make, base, tmp_path, written):
    def rank(_):
        # A lock is held by an open file, so that threads stand for processes.
        data = stage_data(make, base, tmp_path / "stage", cache=tmp_path / "cache")
        assert data.renderer
        start.wait()
        return data.corpus((make.item("first"), make.item("second")), 64)

    start = threading.Barrier(3)
    with ThreadPoolExecutor(3) as pool:
        first, *others = pool.map(rank, range(3))
    assert all(arrays(other) == arrays(first) for other in others)
    assert len(written) == 3
