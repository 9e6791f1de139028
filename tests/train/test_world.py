from __future__ import annotations

import torch.distributed as dist

from harness.execution import Execution
from harness.train.world import World


def test_a_stage_without_a_launcher_is_alone_whatever_stands_in_the_environment(monkeypatch):
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setenv("WORLD_SIZE", "2")
    world = World.of(Execution())
    assert world == World(0, 0, 1)
    assert world.main
    with world.joined():
        assert not dist.is_initialized()
        assert world.agreed("this") == "this"
        assert not world.decided(yes=False)
        assert world.highest(3) == 3
        world.barrier()


def test_launched_processes_know_their_places(monkeypatch):
    for name, value in {"RANK": "5", "LOCAL_RANK": "1", "WORLD_SIZE": "8"}.items():
        monkeypatch.setenv(name, value)
    world = World.of(Execution(launcher="torchrun", processes=4, nodes=2))
    assert (world.rank, world.local_rank, world.size, world.main, world.launched) == (5, 1, 8, False, True)


def test_even_one_launched_process_has_a_group_and_leaves_none_behind(monkeypatch):
    environment = {"RANK": "0", "LOCAL_RANK": "0", "WORLD_SIZE": "1", "MASTER_ADDR": "localhost", "MASTER_PORT": "0"}
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    with World.of(Execution(launcher="torchrun")).joined():
        assert dist.get_world_size() == 1
    assert not dist.is_initialized()
