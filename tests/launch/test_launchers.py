"""The launchers' command lines, the hostfile, and what is refused before anything is started."""

import os
import sys
from pathlib import Path

import pytest

from harness.data.resolve import Places
from harness.execution import Execution
from harness.jobs import Job
from harness.launch.launchers import check, command, environment
from harness.launch.order import Address, Order


@pytest.fixture
def order(tmp_path):
    def make(**execution):
        return Order(
            id="1234",
            job=Job("train", "sft: train all (seed 0)", {}),
            places=Places(None, tmp_path / "cache"),
            parents={"start": tmp_path / "start"},
            runtime={"threads": 8},
            execution=Execution(**execution),
            supervisor=Address("127.0.0.1", 4321),
            store=Address("127.0.0.1", 1234),
            working_folder=tmp_path,
        )

    return make


def words(order, path, node=0):
    return " ".join(command(order, path, node))


def test_an_order_is_read_as_it_was_written(order, tmp_path):
    written = order(launcher="torchrun", processes=2)
    assert Order.read(written.write(tmp_path)) == written


def test_an_order_can_be_read_by_its_user_alone_for_its_id_opens_the_supervisor(order, tmp_path):
    path = order(launcher="torchrun", processes=2).write(tmp_path)
    assert path.stat().st_mode & 0o777 == 0o600


def test_torchrun_on_one_node_chooses_its_own_port(order):
    assert words(order(launcher="torchrun", processes=4), Path("/job/launch.json")) == (
        "torch.distributed.run --standalone --nproc-per-node 4 --log-dir /job/ranks/torchrun-0 "
        "--module harness.launch.rank /job/launch.json"
    )


def test_torchrun_on_many_nodes(order):
    asked = order(launcher="torchrun", processes=8, nodes=3, rendezvous="node0:29500")
    assert words(asked, Path("/job/launch.json"), 2) == (
        "torch.distributed.run --nnodes 3 --node-rank 2 --master-addr node0 --master-port 29500 --nproc-per-node 8 "
        "--log-dir /job/ranks/torchrun-2 --module harness.launch.rank /job/launch.json"
    )


def test_deepspeed_on_many_nodes_needs_no_ssh(order):
    asked = order(launcher="deepspeed", processes=8, nodes=2, hostfile="hosts", rendezvous="node0:29500")
    assert words(asked, Path("/job/launch.json"), 1) == (
        "deepspeed.launcher.runner --hostfile hosts --num_nodes 2 --num_accelerators 8 --no_ssh --node_rank 1 "
        "--master_addr 127.0.0.1 --master_port 1234 --no_local_rank --module harness.launch.rank /job/launch.json"
    )


def test_deepspeed_without_a_hostfile_has_one_written(order, tmp_path):
    words(order(launcher="deepspeed", processes=3), tmp_path / "launch.json")
    assert (tmp_path / "ranks" / "hostfile-0").read_text() == "node-0 slots=3\n"


def test_accelerate_starts_several_on_cpus_too(order):
    assert words(order(launcher="accelerate", processes=2), Path("/job/launch.json")) == (
        "accelerate.commands.launch --multi_gpu --num_processes 2 --gpu_ids all --num_machines 1 --machine_rank 0 "
        "--main_process_ip 127.0.0.1 --main_process_port 4321 --mixed_precision no --dynamo_backend no "
        "--log_dir /job/ranks/torchrun-0 --module harness.launch.rank /job/launch.json"
    )


def test_ranks_share_the_threads_and_find_this_environments_ninja(order):
    given = environment(order(launcher="torchrun", processes=4))
    assert given["OMP_NUM_THREADS"] == "2"
    assert given["PATH"].split(os.pathsep)[0] == str(Path(sys.executable).parent)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (None, "cannot read the hostfile {}: No such file or directory (lines of HOST slots=N are wanted)"),
        ("one slots=2\ntwo\n", "{}, line 2: 'two' is no HOST slots=N (correct the hostfile)"),
        ("# nodes\n\none slots=2\none slots=2\n", "{}, line 4: one stands there twice (correct the hostfile)"),
        ("one slots=2\n", "train.nodes=2, and the hostfile {} names 1 (add hosts, or lower it)"),
        (
            "one slots=2\ntwo slots=1\n",
            "train.processes=2 on each node, and two has 1 slots in {} (raise its slots, or lower train.processes)",
        ),
    ],
)
def test_a_hostfile_that_will_not_do_is_refused(text, said, refused, tmp_path):
    hosts = tmp_path / "hosts"
    if text is not None:
        hosts.write_text(text)
    asked = Execution(launcher="deepspeed", processes=2, nodes=2, hostfile=str(hosts), rendezvous="one:29500")
    assert refused(check, asked) == said.format(hosts)


def test_a_hostfile_that_will_do(tmp_path):
    hosts = tmp_path / "hosts"
    hosts.write_text("# nodes\none slots=2\n\ntwo   slots=8\nthree slots=1\n")
    check(Execution(launcher="deepspeed", processes=2, nodes=2, hostfile=str(hosts), rendezvous="one:29500"))


@pytest.mark.parametrize(
    ("rendezvous", "said"),
    [
        (None, "2 nodes need a place to meet (--set train.rendezvous=HOST:PORT, of the first node)"),
        ("node0", "train.rendezvous=node0 is no HOST:PORT (write node1:29500, for example)"),
        ("node0:99999", "train.rendezvous=node0:99999 is no HOST:PORT (write node1:29500, for example)"),
    ],
)
def test_nodes_that_cannot_meet_are_refused(rendezvous, said, refused):
    assert refused(check, Execution(launcher="torchrun", nodes=2, rendezvous=rendezvous)) == said


def test_nodes_that_cannot_meet_are_refused_before_anything_is_done(command, tmp_path):
    settings = ("--set", "train.launcher=torchrun", "--set", "train.nodes=2")
    process = command("run", *settings, "--store", tmp_path / "store", "--out", tmp_path / "run", cwd=tmp_path)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 2
    assert err.strip().splitlines()[-1] == (
        "harness: 2 nodes need a place to meet (--set train.rendezvous=HOST:PORT, of the first node)"
    )
    assert not (tmp_path / "store" / "jobs").exists()
