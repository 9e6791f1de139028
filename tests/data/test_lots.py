import os
import pickle
import signal
import subprocess
import sys
from itertools import count

import numpy as np
import psutil
import pytest

from harness.api import Example, Message
from harness.data import lots
from harness.data.chat import Renderer
from harness.data.dialect import Dialect
from harness.data.lots import render
from harness.data.templates import TEMPLATES
from harness.data.tokenizer import train_tokenizer
from harness.errors import Failure, UserError

FOREVER = """
import pickle
import sys
from itertools import count
from pathlib import Path
from harness.api import Example, Message
from harness.data import lots

if __name__ == "__main__":
    lots.LOT = 100
    turns = (Message("user", "one two"), Message("assistant", "three"))
    dialect = pickle.loads(Path(sys.argv[1]).read_bytes())
    for lot in lots.render((Example(str(i), turns) for i in count()), dialect, 2):
        print(len(lot.lengths), flush=True)
"""


def conversation(i):
    return Example(str(i), (Message("user", f"{i}?" * (i % 7)), Message("assistant", "yes " * (i % 5))))


@pytest.fixture(scope="module")
def tokenizer():
    return train_tokenizer(["yes no 1 2 3?"] * 3, 300, TEMPLATES["tulu"])


@pytest.fixture
def small_lots(monkeypatch):
    monkeypatch.setattr(lots, "LOT", 100)
    monkeypatch.setattr(lots, "SMALL", 2)


def pool_of(process):
    """The processes that render for it; besides them Python keeps one that tracks resources."""
    return [child for child in process.children() if "spawn_main" in " ".join(child.cmdline())]


@pytest.mark.timeout(120)
@pytest.mark.parametrize("processes", [1, 2])
@pytest.mark.usefixtures("small_lots")
def test_lots_are_what_each_conversation_alone_renders_to(tokenizer, processes):
    examples = [conversation(i) for i in range(300)]
    found = list(render(iter(examples), Dialect.of(tokenizer), processes))
    renderer = Renderer(tokenizer)
    alone = [renderer.render(example) for example in examples]
    assert len(found) > 10
    assert np.concatenate([lot.lengths for lot in found]).tolist() == [len(one.ids) for one in alone]
    assert np.concatenate([lot.ids for lot in found]).tolist() == [id_ for one in alone for id_ in one.ids]
    assert np.concatenate([lot.parts for lot in found]).tolist() == [part for one in alone for part in one.parts]
    assert not psutil.Process().children() or not pool_of(psutil.Process())


@pytest.mark.timeout(120)
@pytest.mark.usefixtures("small_lots")
def test_no_more_is_read_than_is_rendered_soon(tokenizer):
    read = []

    def examples():
        for i in count():
            read.append(i)
            yield conversation(i)

    stream = render(examples(), Dialect.of(tokenizer), 2)
    rendered = 0
    for _ in range(30):
        rendered += len(next(stream).lengths)
        assert len(read) - rendered < 100
    stream.close()
    assert not pool_of(psutil.Process())


@pytest.mark.timeout(120)
@pytest.mark.parametrize("processes", [1, 2])
@pytest.mark.usefixtures("small_lots")
def test_the_example_that_cannot_be_rendered_is_named(processes):
    refusal = "{% if messages[0]['content'] == 'no' %}{{ raise_exception('never') }}{% endif %}"
    template = refusal + TEMPLATES["tulu"]
    tokenizer = train_tokenizer(["yes no"], 300, template)
    bad = Example("bad", (Message("user", "no"), Message("assistant", "a")))
    examples = [*(conversation(i) for i in range(90)), bad, conversation(91)]
    with pytest.raises(UserError) as caught:
        list(render(iter(examples), Dialect.of(tokenizer), processes))
    assert caught.value.problem == "example bad: the chat template refuses the turns user, assistant: never"
    assert "another chat template" in caught.value.remedy


@pytest.mark.timeout(120)
@pytest.mark.usefixtures("small_lots")
def test_a_killed_process_is_a_failure_with_a_remedy(tokenizer):
    stream = render((conversation(i) for i in count()), Dialect.of(tokenizer), 2)
    next(stream)
    os.kill(pool_of(psutil.Process())[0].pid, signal.SIGKILL)
    with pytest.raises(Failure, match=r"a process that renders conversations was killed .*lower runtime.threads"):
        for _ in stream:
            pass
    assert not pool_of(psutil.Process())


@pytest.mark.timeout(120)
def test_processes_end_with_the_one_that_started_them(tokenizer, tmp_path):
    (tmp_path / "dialect").write_bytes(pickle.dumps(Dialect.of(tokenizer)))
    (tmp_path / "forever.py").write_text(FOREVER)
    command = [sys.executable, str(tmp_path / "forever.py"), str(tmp_path / "dialect")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as parent:
        assert int(parent.stdout.readline()) > 0
        pool = pool_of(psutil.Process(parent.pid))
        assert pool
        parent.kill()
        gone, alive = psutil.wait_procs(pool, timeout=30)
        assert (len(gone), alive) == (len(pool), [])
