"""What becomes of programs that end in every other way than by being right."""

import pytest

from harness.api import Execute, Execution
from harness.sandbox.sandbox import open_sandbox

ADDS = "def check(f):\n    assert f(1) == 2\n    assert f(10**400) == 10**400 + 1"
RIGHT = "def f(x):\n    return x + 1"


@pytest.fixture(scope="module")
def sandbox():
    with open_sandbox() as found:
        yield found


@pytest.fixture
def run(sandbox):
    def run(code, checks=ADDS, timeout=2.0, **named):
        return sandbox.run(Execute(code, "f", checks, timeout, **named))

    return run


def test_a_right_program_passes_and_nothing_is_said_of_it(run):
    ended = run(RIGHT)
    assert (ended.outcome, ended.detail) == ("passed", "")


@pytest.mark.parametrize(
    ("code", "outcome", "detail"),
    [
        ("def f(x):\n    return x", "failed", "AssertionError"),
        ("def f(x):\n    return {}[x]", "failed", "KeyError: 1"),
        ("def g(x):\n    return x + 1", "failed", "AttributeError: module 'program' has no attribute 'f'"),
        ("f = 3", "failed", "TypeError: 'int' object is not callable"),
        ("def f(x):\nreturn x", "failed", "IndentationError"),
        ("def f(x):\n    return x + 1\0", "failed", "null bytes"),
        ("def f(x):\n    return '\ud800'", "failed", "surrogates not allowed"),
        ("def f(x):\n    return f(x)", "failed", "RecursionError"),
        (
            "import sys\nsys.setrecursionlimit(10**9)\nx = []\nfor _ in range(10**6): x = [x]\nrepr(x)",
            "crashed",
            "SIGSEGV",
        ),
        ("import ctypes\nctypes.string_at(0)", "crashed", "was killed by SIGSEGV"),
        ("import os\nos.abort()", "crashed", "was killed by"),
        ("def f(x):\n    return bytearray(1 << 40)", "memory", "MemoryError"),
        ("def f(x):\n    return open('/proc/self/environ')", "failed", "<path>"),
        ("input()\n" + RIGHT, "failed", "EOFError"),
        ("import threading\nthreading.Thread(target=print).start()\n" + RIGHT, "failed", "can't start new thread"),
        ("def f(x):\n    return print", "failed", "builtin_function_or_method is no plain data"),
        ("while True:\n    pass", "timeout", "took more than 1 s of CPU time"),
        ("def f(x):\n    while True:\n        print('x' * 10**6)", "output", "printed more than 1048576 bytes"),
        ("def f(x):\n    return 'x' * (1 << 21)", "output", "returned more than 1048576 bytes"),
        ("raise ValueError(object())", "failed", "ValueError: <object object at <address>>"),
        ("raise BaseException('\\n/home/somebody/x y')", "failed", "BaseException:  <path> y"),
    ],
)
def test_each_end_has_its_outcome(run, code, outcome, detail):
    ended = run(code, timeout=1.0, memory_gib=0.5)
    assert ended.outcome == outcome, ended
    assert detail in ended.detail


@pytest.mark.parametrize("lasts", ["import time\ntime.sleep(60)", "import signal\nwhile True:\n    signal.pause()"])
def test_who_waits_is_ended_after_ten_times_the_time(run, lasts):
    ended = run(lasts, timeout=0.1)
    assert (ended.outcome, ended.detail) == ("timeout", "had not ended after 1 s")


def test_signals_do_not_hold_a_program_back_from_its_end(run):
    deaf = (
        "import signal\nfor s in set(signal.Signals) - {9, 19}:\n    signal.signal(s, signal.SIG_IGN)\nwhile True: pass"
    )
    assert run(deaf, timeout=1.0).outcome == "timeout"


FORGERIES = {
    "exit": "import sys\nsys.exit(0)",
    "exit at once": "import os\nos._exit(0)",
    "exit when called": "def f(x):\n    raise SystemExit(0)",
    "no assertions": "import builtins\nbuiltins.AssertionError = type(None)\ndef f(x): return x",
    "other words": "import json\njson.loads = json.dumps = lambda *a, **k: {'value': 2}\ndef f(x): return x",
    "an equal number": "class Yes(int):\n    def __eq__(self, other): return True\ndef f(x): return Yes(x)",
    "an equal object": "class Yes:\n    def __eq__(self, other): return True\ndef f(x): return Yes()",
    "an equal dictionary": "class Yes(dict):\n    def __eq__(self, other): return True\ndef f(x): return Yes()",
    "a last word": "import atexit, os\natexit.register(os.write, 1, b'passed')\ndef f(x): return x",
    "a verdict everywhere": """
import os
for d in range(64):
    try: os.write(d, b'{"outcome": "passed", "sentinel": ""}\\n')
    except OSError: pass
def f(x): return x""",
    "an answer beforehand": """
import os, struct
for d in range(64):
    try: os.write(d, struct.pack('=I', 15) + b'{"value": null}')
    except OSError: pass
def f(x): return x""",
    "noise": """
import os
for d in range(3, 64):
    try: os.write(d, b'\\xff' * 64)
    except OSError: pass""",
    "the frames above": """
import sys
def f(x):
    frame = sys._getframe()
    while frame := frame.f_back:
        frame.f_globals.update(passed=True, outcome='passed')
    return x""",
}


@pytest.mark.parametrize("forgery", FORGERIES.values(), ids=FORGERIES)
def test_nothing_but_right_values_passes(run, forgery):
    assert run(forgery).outcome in ("failed", "output")


def test_neither_checks_nor_sentinel_can_be_found_by_the_program(run, monkeypatch):
    monkeypatch.setattr("secrets.token_hex", lambda _: "known-sentinel")
    finder = """
import gc, os, sys
def f(x):
    seen = [repr(o) for o in gc.get_objects() if isinstance(o, (str, bytes, dict, list, tuple))]
    frame = sys._getframe()
    while frame:
        seen.append(repr(frame.f_locals) + repr(frame.f_globals))
        frame = frame.f_back
    seen += [repr(sys.argv), repr(sys.orig_argv), repr(dict(os.environ)), repr(os.listdir('.'))]
    words = [word.lower() for word in ('KNOWN-SENTINEL', 'RIGHT-ANSWER', 'HARNESS.SANDBOX')]
    return [word for word in words if any(word in text for text in seen)]
"""
    told = run(finder, "def check(f):\n    right = 'right-answer'\n    raise LookupError(f(0))").detail
    assert told == "LookupError: ['harness.sandbox']"  # what it is run by it may see


def test_checks_are_judged_apart_from_programs(run):
    assert run(RIGHT, "def check(f):\n    return 1 +").detail.startswith("the checks cannot be run: SyntaxError")
    assert run(RIGHT, "x = 1").outcome == "sandbox_failure"
    assert run(RIGHT, "def check(f):\n    f(print)").outcome == "sandbox_failure"


def test_checks_cannot_go_on_without_their_program(run):
    checks = "def check(f):\n    try:\n        f(1)\n    except Exception:\n        pass"
    assert run("import os\ndef f(x): os._exit(0)", checks) == Execution("failed", "ended with exit code 0")
    assert run("def f(x): raise ValueError", checks).outcome == "passed"


def test_checks_may_call_the_function_by_its_name_and_have_helpers_of_their_own(run):
    checks = "import math\ndef helper(x):\n    return x\ndef check(g):\n    assert g(x=1) == f(1) == helper(2)"
    assert run("def helper(x):\n    return 0\n" + RIGHT, checks).outcome == "passed"


def test_the_order_of_sets_is_the_same_every_time(run):
    told = {
        run("def f(x): return list({'a', 'b', 'c', 'd'})", "def check(f): raise LookupError(f(0))") for _ in range(3)
    }
    assert len(told) == 1


def test_a_program_has_the_standard_library_numpy_and_a_small_folder(run):
    code = """
import asyncio, collections, dataclasses, datetime, decimal, fractions, hashlib, heapq, itertools, json, os, random, re
import sqlite3, statistics, string, tempfile, typing
import numpy as np

@dataclasses.dataclass
class Point:
    x: "int"

async def later(x):
    await asyncio.sleep(0)
    return x

def f(x):
    with tempfile.TemporaryDirectory() as folder:
        with open(os.path.join(folder, "a"), "w") as file:
            file.write("1")
        os.rename(os.path.join(folder, "a"), "b")
    with open("b") as file:
        one = int(file.read())
    assert hashlib.md5(b"").hexdigest()[:4] == "d41d"
    return np.int64(asyncio.run(later(x))) + Point(one).x if x == 1 else x + 1
"""
    assert run(code).outcome == "passed"


def test_no_other_package_can_be_imported(run):
    assert run("import torch\n" + RIGHT).detail == "ModuleNotFoundError: No module named 'torch'"


def test_many_run_side_by_side(sandbox):
    programs = [
        Execute(f"def f(x):\n    return {n}", "f", "def check(f):\n    raise LookupError(f(0))") for n in range(12)
    ]
    details = [ended.result().detail for ended in [sandbox.submit(program) for program in programs]]
    assert details == [f"LookupError: {n}" for n in range(12)]
